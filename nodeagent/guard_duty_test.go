// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// fourNodes is a View of n1 to n4, of which n3, id 3, failed at the time given.
func fourNodes(fenced time.Time) state.View {
	v := testView()
	v.Nodes, v.Agents, v.Failures = map[topology.NodeName]state.Node{}, nil, map[uint64]state.Failure{}
	for i, name := range []topology.NodeName{"n1", "n2", "n3", "n4"} {
		v.Nodes[name] = state.Node{Name: name, ID: topology.NodeID(i + 1), State: state.NodeUp, MAC: topology.MAC{2, 0, 0, 0, 0, byte(i + 1)}}
	}
	fail(&v, "n3", 7, &fenced)
	return v
}

// fail makes a node of the View fail.
func fail(v *state.View, name topology.NodeName, epoch uint64, fenced *time.Time) {
	n := v.Nodes[name]
	n.State, n.Failure = state.NodeFailed, epoch
	v.Nodes[name] = n
	v.Failures[epoch] = state.Failure{Epoch: epoch, Node: name, ID: n.ID, SlotNodes: []topology.NodeID{1, 2, 3, 4},
		SlotSchedulers: topology.AllSchedulers, Fenced: fenced}
}

// back lets the node of a failure return under another id.
func back(v *state.View, epoch uint64, id topology.NodeID, at time.Time) {
	f := v.Failures[epoch]
	f.Left = &at
	v.Failures[epoch] = f
	n := v.Nodes[f.Node]
	n.ID, n.State, n.Failure = id, state.NodeUp, 0
	v.Nodes[f.Node] = n
}

func TestWhoActsForWhom(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		change func(*state.View)
		want   map[topology.NodeName][]topology.NodeID // by who asks: for whom
		until  time.Time
	}{
		{"not fenced", func(v *state.View) { fail(v, "n3", 7, nil) }, nil, time.Time{}},
		{"fenced", func(*state.View) {}, map[topology.NodeName][]topology.NodeID{"n1": {3}, "n2": {3}, "n4": {3}}, time.Time{}},
		{"back", func(v *state.View) { back(v, 7, 9, now.Add(-time.Second)) },
			map[topology.NodeName][]topology.NodeID{"n1": {3}, "n2": {3}, "n4": {3}}, now.Add(2*time.Minute - time.Second)},
		{"long back", func(v *state.View) { back(v, 7, 9, now.Add(-2*time.Minute)) }, nil, time.Time{}},
		{"another failed too", func(v *state.View) { fail(v, "n4", 8, &now) },
			map[topology.NodeName][]topology.NodeID{"n1": {3, 4}, "n2": {3, 4}}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := fourNodes(now)
			tt.change(&v)
			for name := range v.Nodes {
				got := wantDuties(now, v, name, guardTables{})
				var owners []topology.NodeID
				for _, d := range got.duties {
					if d.count() > 0 {
						owners = append(owners, d.owner)
					}
				}
				if diff := cmp.Diff(tt.want[name], owners); diff != "" {
					t.Errorf("%s acts for (-want +got):\n%s", name, diff)
				}
				if len(owners) > 0 && !got.until.Equal(tt.until) {
					t.Errorf("%s: until %v, want %v", name, got.until, tt.until)
				}
			}
		})
	}
}

// The guards are those of the table before; where one of them is dead and fenced,
// one of the others takes its place, and nobody before it is fenced.
func TestOneActsInEachSlot(t *testing.T) {
	now := time.Now()
	primary, secondary := scheduler.Slots([]topology.NodeID{1, 2, 3, 4}, topology.AllSchedulers)
	for _, tt := range []struct {
		name     string
		change   func(*state.View)
		orphaned bool // slots whose guard is n4 have nobody
		dead     bool // they have one of the others
	}{
		{"all guards live", func(*state.View) {}, false, false},
		{"one guard is suspected dead", func(v *state.View) { fail(v, "n4", 8, nil) }, true, false},
		{"one guard is dead", func(v *state.View) { fail(v, "n4", 8, &now) }, false, true},
		{"and came back", func(v *state.View) { fail(v, "n4", 8, &now); back(v, 8, 5, now) }, false, true},
		{"its id is another's", func(v *state.View) { fail(v, "n4", 8, &now); back(v, 8, 4, now) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := fourNodes(now)
			tt.change(&v)
			actors := make([][]topology.NodeID, topology.SlotCount)
			for name, n := range v.Nodes {
				for _, d := range wantDuties(now, v, name, guardTables{}).duties {
					for slot, acts := range d.slots {
						if acts && d.owner == 3 {
							actors[slot] = append(actors[slot], n.ID)
						}
						if regular := scheduler.GuardOf(primary, secondary, slot, d.owner); d.heir[slot] != (acts && regular != n.ID) {
							t.Fatalf("slot %d of %d: %d acts: %t, is an heir: %t, the guard is %d", slot, d.owner, n.ID, acts, d.heir[slot], regular)
						}
					}
				}
			}
			for slot, got := range actors {
				want := scheduler.GuardOf(primary, secondary, slot, 3)
				switch {
				case want == 4 && tt.orphaned:
					if len(got) != 0 {
						t.Fatalf("slot %d: %v act, want nobody", slot, got)
					}
				case want == 4 && tt.dead:
					if len(got) != 1 || got[0] == 4 {
						t.Fatalf("slot %d: %v act, want one of the living", slot, got)
					}
				case len(got) != 1 || got[0] != want:
					t.Fatalf("slot %d: %v act, want %d", slot, got, want)
				}
			}
		})
	}
}

func TestWhoIsAsked(t *testing.T) {
	now := time.Now()
	v := fourNodes(now)
	lost, expected := v.Nodes["n4"], v.Nodes["n2"]
	lost.State = state.NodeLost
	v.Nodes["n4"] = lost
	want := []askee{{2, v.Nodes["n2"].MAC}, {4, lost.MAC}}
	if diff := cmp.Diff(want, wantAskees(v, "n1"), cmp.AllowUnexported(askee{})); diff != "" {
		t.Errorf("a fenced one is not, a lost one is (-want +got):\n%s", diff)
	}
	expected.State = state.NodeExpected
	v.Nodes["n2"] = expected
	fail(&v, "n3", 7, nil)
	want = []askee{{3, v.Nodes["n3"].MAC}, {4, lost.MAC}}
	if diff := cmp.Diff(want, wantAskees(v, "n1"), cmp.AllowUnexported(askee{})); diff != "" {
		t.Errorf("one never seen is not, one without a fence is (-want +got):\n%s", diff)
	}
}

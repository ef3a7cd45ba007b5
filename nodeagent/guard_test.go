// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// The tests of this file run agents whole, in a bubble as those of agent_test.go.

// failThird stores that n3 was there, failed and is fenced.
func (b *bubble) failThird() {
	now := time.Now()
	v := state.View{Nodes: map[topology.NodeName]state.Node{"n3": {Schema: state.Schema, Name: "n3", ID: 3, Switch: "s1", Port: "n3", Weight: 1}},
		Failures: map[uint64]state.Failure{}}
	fail(&v, "n3", 7, &now)
	f := v.Failures[7]
	f.Schema, f.Reason, f.SlotEpoch, f.Since, f.SlotNodes = state.Schema, state.FailureSilence, 4, now, []topology.NodeID{1, 2, 3}
	if _, err := b.leader.Apply(b.ctx, state.Change{Record: v.Nodes["n3"]}, state.Change{Record: f}); err != nil {
		b.t.Fatal(err)
	}
}

// listen plugs in a client that keeps the segments it gets.
func (b *bubble) listen() *[]probeFields {
	var got []probeFields
	b.wires.plug(func(frame []byte) []byte {
		if binary.BigEndian.Uint16(frame[12:]) == 0x0800 {
			got = append(got, parseProbe(b.t, frame))
		}
		return nil
	})
	return &got
}

func TestAgentsActForAFailedOne(t *testing.T) {
	inBubble(t, func(b *bubble) {
		probes := b.listen()
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(time.Second)
		silent, unknown, taken := guardedRecord("10.77.1.1:1", "10.77.0.1:80"), guardedRecord("10.77.1.1:2", "10.77.0.1:80"), guardedRecord("10.77.1.1:3", "10.77.0.1:80")
		silent.Owner, unknown.Owner, taken.Owner = 3, 0, 0
		for _, m := range []*member{m1, m2} {
			m.filter.locked(func() {
				for _, g := range []bpf.Guarded{silent, unknown, taken} {
					m.filter.guard.records[g.Flow] = g
				}
				m.filter.guard.sockets[taken.Flow] = true
			})
		}
		stored := bpf.Flow{Client: flowNumber(4).Client, VIP: silent.Flow.VIP}
		conn := state.Conn{Schema: state.Schema, Node: "n3", Service: "web", Client: stored.Client, VIP: stored.VIP, Since: time.Now()}
		if err := b.store.PutConns(b.ctx, []state.Conn{conn}); err != nil {
			t.Fatal(err)
		}

		b.failThird()
		b.pass(500 * time.Millisecond)
		owner := func(flow bpf.Flow) (owners []topology.NodeID) {
			for _, m := range []*member{m1, m2} {
				m.filter.locked(func() { owners = append(owners, m.filter.guard.records[flow].Owner) })
			}
			return owners
		}
		ends := map[uint16]int{}
		for _, p := range *probes {
			ends[p.Port]++
		}
		// The two nodes share the slots: what one does the other leaves alone. The third
		// is known from the store only.
		if diff := cmp.Diff(map[uint16]int{1: 1, 2: 1, 4: 1}, ends); diff != "" {
			t.Errorf("probes by the client's port, in the first round (-want +got):\n%s", diff)
		}
		if got := owner(unknown.Flow); got[0]+got[1] != 3 {
			t.Errorf("owners of a connection that nobody has: %v, want 3 at one of the nodes", got)
		}
		if got := owner(stored); got[0]+got[1] != 3 {
			t.Errorf("owners of one that only the store knows: %v, want 3 at one of the nodes", got)
		}
		if got := owner(taken.Flow); got[0] == 3 || got[1] == 3 {
			t.Errorf("owners of one that a live node has: %v, want never 3", got)
		}
		b.pass(time.Minute)
		if conns, err := b.store.Conns(b.ctx, "n3", 0); err != nil || len(conns) > 0 {
			t.Errorf("the store has %v of the failed node, %v; want nothing", conns, err)
		}
	})
}

// What nobody else has may be this node's own by now.
func TestAGuardDoesNotCondemnItsOwn(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1 := b.start("n1", 100)
		b.start("n2", 200)
		b.pass(time.Second)
		const flows = 20 // the two nodes share their slots
		m1.filter.locked(func() {
			for i := range flows {
				flow := flowNumber(i)
				m1.filter.guard.records[flow], m1.filter.guard.sockets[flow] = bpf.Guarded{Flow: flow}, true
			}
		})
		b.failThird()
		b.pass(5 * time.Second)
		here, condemned := strayCount(t, m1, outcomeHere), strayCount(t, m1, outcomeCondemned)
		if here == 0 || here != condemned {
			t.Errorf("%g of %g that nobody else has are found here, want all", here, condemned)
		}
		m1.filter.locked(func() {
			for flow, r := range m1.filter.guard.records {
				if r.Owner == 3 {
					t.Errorf("%s is noted as the failed node's", flow.Client)
				}
			}
		})
	})
}

// strayCount reads onevip_agent_strays_total.
func strayCount(t *testing.T, m *member, as outcome) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, series := range f.Metric {
			if f.GetName() == "onevip_agent_strays_total" && series.Label[0].GetValue() == string(as) {
				return series.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series for outcome %s", as)
	return 0
}

func TestNothingIsCondemnedUnlooked(t *testing.T) {
	f := newMemoryFilter(&callLog{})
	g := newGuard(Config{}, parts{core: &core{}, here: f.here}, newMetrics())
	g.filter = f
	f.fail("here", errors.New("no sock_diag"))
	if err := g.attribute(attribute{[]bpf.Flow{flowNumber(1)}, 3}); err == nil || len(f.guard.records) > 0 {
		t.Errorf("noted %v, error is %v", f.guard.records, err)
	}
	f.fail("here", nil)
	f.guard.sockets[flowNumber(2)] = true
	if err := g.attribute(attribute{[]bpf.Flow{flowNumber(1), flowNumber(2)}, 3}); err != nil {
		t.Fatal(err)
	}
	if _, is := f.guard.records[flowNumber(2)]; is || f.guard.records[flowNumber(1)].Owner != 3 {
		t.Errorf("noted %v, want the first alone", f.guard.records)
	}
}

// While a guard forgets what a node left behind, the node may be back with a client that
// uses its port again.
func TestAGuardForgetsNothingThatIsWrittenAnew(t *testing.T) {
	store := state.NewMemory()
	g := newGuard(Config{Store: store}, parts{core: &core{}}, newMetrics())
	flow := flowNumber(1)
	dead := state.Conn{Node: "n3", Service: "web", Client: flow.Client, VIP: flow.VIP, Since: time.Unix(100, 0).UTC()}
	anew := dead
	anew.Since = anew.Since.Add(time.Minute)
	for _, stands := range []state.Conn{dead, anew} {
		if err := store.PutConns(t.Context(), []state.Conn{stands}); err != nil {
			t.Fatal(err)
		}
		g.do(t.Context(), deleteConns{7, []state.Conn{dead}})
		if ev := (<-g.results).(connsDeleted); ev.err != nil {
			t.Fatal(ev.err)
		}
		left, err := store.Conns(t.Context(), "n3", 0)
		if err != nil || len(left) > 0 != (stands == anew) {
			t.Errorf("of a connection since %v, %v is left, error %v", stands.Since, left, err)
		}
	}
}

func TestViolationsAreToldOf(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.pass(time.Second)
		m.filter.locked(func() { m.filter.guard.tally["double_owner"] = bpf.Violation{Times: 2} })
		b.pass(2 * time.Second)
		if diff := cmp.Diff(map[string]uint64{"double_owner": 2}, b.view().Agents["n1"].Violations); diff != "" {
			t.Errorf("in the record (-want +got):\n%s", diff)
		}
	})
}

// One node is down. A client of the others sends its request in two segments, and the first
// is lost: nobody has the connection that the second belongs to, until the first comes again.
func TestAgentsLeaveAConnectionToItsInspector(t *testing.T) {
	inBubble(t, func(b *bubble) {
		members := []*member{b.start("n1", 100), b.start("n2", 200)}
		b.pass(time.Second)
		n2 := b.view().Nodes["n2"]
		n2.MAC = mac2 // it can be asked
		if _, err := b.leader.Apply(b.ctx, state.Change{Record: n2}); err != nil {
			t.Fatal(err)
		}
		b.failThird()
		b.pass(5 * time.Second)
		const flows = 8 // the two nodes share their slots
		for _, m := range members {
			for i := range flows {
				g := bpf.Guarded{Flow: flowNumber(i), Inspector: topology.NodeID(1 + i%2), Data: true}
				m.filter.locked(func() { m.filter.guard.records[g.Flow] = g })
				m.filter.notices.next <- bpf.Notice{Kind: bpf.NoticeStray, Flow: g.Flow}
			}
		}
		owners := func(want func(topology.NodeID) bool, what string) {
			t.Helper()
			for _, m := range members {
				m.filter.locked(func() {
					for flow, g := range m.filter.guard.records {
						if !want(g.Owner) {
							t.Errorf("%s is noted as that of %d, want %s", flow.Client, g.Owner, what)
						}
					}
				})
			}
		}
		b.pass(heldFor - 100*time.Millisecond)
		owners(func(id topology.NodeID) bool { return id == topology.Undecided }, "nobody's")
		members[1].filter.locked(func() {
			for i := range flows {
				members[1].filter.guard.sockets[flowNumber(i)] = true
			}
		})
		b.pass(time.Minute)
		owners(func(id topology.NodeID) bool { return id != 3 }, "not the failed one's")
		if owned := strayCount(t, members[0], outcomeOwned); owned == 0 {
			t.Error("nobody was found to have any: the test tests nothing")
		}
	})
}

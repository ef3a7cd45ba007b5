// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// ring is a store whose ring is decided on, for a cluster of so many nodes.
type ring struct {
	t      *testing.T
	store  *state.Memory
	leader state.Leadership
	config topology.Cluster
}

func newRing(t *testing.T, nodes int) *ring {
	t.Helper()
	r := &ring{t: t, store: state.NewMemory(), config: topology.Default()}
	var err error
	if r.leader, err = r.store.Campaign(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		name := topology.NodeName(fmt.Sprintf("n%03d", i))
		r.config.Nodes = append(r.config.Nodes, topology.Node{Name: name})
		putAgent(t, r.store, state.Agent{Schema: state.Schema, Name: name, MAC: topology.MAC{2, byte(i)}})
	}
	return r
}

// decide gives the decision's changes, and the ring after them.
func (r *ring) decide() ([]state.Change, []state.Event) {
	r.t.Helper()
	changes := Decide(Input{Config: r.config, View: viewOf(r.t, r.store), Now: noon, Elected: true}).Changes
	if _, err := r.leader.Apply(r.t.Context(), changes...); err != nil {
		r.t.Fatal(err)
	}
	return changes, viewOf(r.t, r.store).Events
}

// fill writes events by another hand.
func (r *ring) fill(from, to uint64) {
	r.t.Helper()
	for seq := from; seq <= to; seq++ {
		if _, err := r.leader.Apply(r.t.Context(), state.Change{Record: state.Event{Schema: state.Schema, Seq: seq, Kind: "old"}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// toldSince are the kinds of the events after a number, and their numbers.
func toldSince(events []state.Event, seq uint64) string {
	var told []string
	for _, e := range events {
		if e.Seq > seq {
			told = append(told, fmt.Sprintf("%d %s", e.Seq, e.Kind))
		}
	}
	return strings.Join(told, ", ")
}

// TestRing: the newest events are kept, and numbers go on.
func TestRing(t *testing.T) {
	r := newRing(t, 2)
	r.decide()
	r.fill(100, 400)
	r.store.Put("agents/n001", nil)
	_, events := r.decide()
	if from, to := events[0].Seq, events[len(events)-1].Seq; len(events) != state.EventRing || from != 148 || to != 403 {
		t.Errorf("%d events, from %d to %d", len(events), from, to)
	}
	if got, want := toldSince(events, 400), "401 leader_changed, 402 node_lost, 403 slots_moved"; got != want {
		t.Errorf("events %s, want %s: the ring had lost the leader's", got, want)
	}
}

// TestMoreEventsThanFit: events need no transaction beside those of the
// changes; the newest are kept.
func TestMoreEventsThanFit(t *testing.T) {
	for _, nodes := range []int{60, 200} {
		r := newRing(t, nodes)
		changes, events := r.decide()
		// The leader, the settings, the nodes added and up, and the slots.
		last := uint64(1 + 1 + 2*nodes + 1)
		if n := len(events); n == 0 || n >= int(last) || events[n-1].Seq != last || events[n-1].Kind != "slots_moved" || events[0].Seq != last+1-uint64(n) {
			t.Fatalf("%d nodes: %d events, want the newest of %d", nodes, n, last)
		}
		if full := len(changes) % state.MaxChanges; full != 0 || len(changes)-len(events) <= len(changes)-state.MaxChanges {
			t.Errorf("%d nodes: %d changes, %d of them events: want them to fill the changes' last transaction", nodes, len(changes), len(events))
		}
	}
}

// TestBrokenPlaces: what can not be read stays, and no event is lost for it.
func TestBrokenPlaces(t *testing.T) {
	r := newRing(t, 2)
	r.decide()
	r.fill(100, 254)
	r.store.Put("events/255", []byte("{"))
	r.store.Put("events/0", []byte("{"))
	r.store.Put("agents/n001", nil)
	_, events := r.decide()
	if got, want := toldSince(events, 254), "257 node_lost, 258 slots_moved"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestEventText(t *testing.T) {
	tests := []struct {
		event Event
		want  string
	}{
		{Event{Kind: NodeUp, Node: "n1", ID: 3}, "node up: n1, id 3"},
		{Event{Kind: ServiceChanged, Service: "web", ID: 2}, "service changed: web, id 2"},
		{Event{Kind: SlotsMoved, Epoch: 9}, "slots moved: epoch 9"},
		{Event{Kind: ClusterChanged}, "cluster settings written"},
		{Event{Kind: NodeFailed, Node: "n1", ID: 3, Epoch: 4, Reason: state.FailureReboot}, "node n1 (id 3) failed: reboot (failure 4)"},
		{Event{Kind: NodeFailed, Node: "n1", ID: 3, Epoch: 4, Reason: state.FailureSilence, Reporters: "n2 and n3"}, "node n1 (id 3) failed: silence, suspected by n2 and n3 (failure 4)"},
		{Event{Kind: NodeFenced, Node: "n1", ID: 3, Epoch: 4}, "node n1 (id 3) fenced: the guards act in its place (failure 4)"},
		{Event{Kind: NodeBack, Node: "n1", ID: 5, Epoch: 4}, "node n1 is back with id 5 (failure 4 is over)"},
	}
	for _, tt := range tests {
		if got := tt.event.text(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

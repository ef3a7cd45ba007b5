// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestRing: the newest events are kept, and numbers go on.
func TestRing(t *testing.T) {
	store := state.NewMemory()
	leader, err := store.Campaign(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	config := topology.Default()
	for i := range 200 {
		name := topology.NodeName(fmt.Sprintf("n%03d", i))
		config.Nodes = append(config.Nodes, topology.Node{Name: name})
		putAgent(t, store, state.Agent{Schema: state.Schema, Name: name, MAC: topology.MAC{2, byte(i)}})
	}
	decide := func() []state.Event {
		t.Helper()
		if _, err := leader.Apply(t.Context(), Decide(Input{Config: config, View: viewOf(t, store), Now: noon, Elected: true}).Changes...); err != nil {
			t.Fatal(err)
		}
		return viewOf(t, store).Events
	}
	// The leader, the settings, 200 nodes added and up, and the slots.
	first, last := decide(), uint64(1+1+400+1)
	if len(first) != state.EventRing || first[0].Seq != last-255 || first[255].Seq != last || first[255].Kind != "slots_moved" {
		t.Fatalf("%d events, the first %+v, the last %+v", len(first), first[0], first[len(first)-1])
	}
	store.Put("agents/n007", nil)
	second := decide()
	if from, to := second[0].Seq, second[255].Seq; from != last-255+3 || to != last+3 {
		t.Errorf("events %d to %d, want %d to %d", from, to, last-255+3, last+3)
	}
	var told []string
	for _, e := range second[253:] {
		told = append(told, e.Kind)
	}
	if got, want := fmt.Sprint(told), "[leader_changed node_lost slots_moved]"; got != want {
		t.Errorf("events %s, want %s: the ring had lost the leader's", got, want)
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

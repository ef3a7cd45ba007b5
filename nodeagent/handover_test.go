// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestHandover(t *testing.T) {
	primaries := func(ids ...topology.NodeID) []bpf.Slot {
		out := []bpf.Slot{}
		for _, id := range ids {
			out = append(out, bpf.Slot{Primary: id})
		}
		return out
	}
	type step struct {
		name      string
		epoch     uint64
		table     []bpf.Slot
		confirmed uint64
		former    []topology.NodeID
	}
	all := map[topology.NodeID]bool{1: true, 2: true, 3: true}
	var h handover // of node 1
	for _, tt := range []step{
		{"nothing known", 0, nil, 0, nil},
		{"the first table follows none", 4, primaries(1, 2, 3), 4, []topology.NodeID{0, 0, 0}},
		{"the old primaries answer too", 5, primaries(2, 3, 3), 4, []topology.NodeID{1, 2, 0}},
		{"until all have the new table", 5, primaries(2, 3, 3), 4, []topology.NodeID{1, 2, 0}},
		{"two changes: this node is remembered", 6, primaries(3, 1, 2), 4, []topology.NodeID{1, 0, 3}},
		{"the first is confirmed, the second not", 6, primaries(3, 1, 2), 5, []topology.NodeID{2, 0, 3}},
		{"all have it", 6, primaries(3, 1, 2), 6, []topology.NodeID{0, 0, 0}},
		{"a store that lost its data begins anew", 1, primaries(1, 1, 1), 6, []topology.NodeID{0, 0, 0}},
	} {
		var got []topology.NodeID
		for i, s := range h.follow(1, tt.epoch, tt.table, tt.confirmed, all) {
			if s.Primary != tt.table[i].Primary {
				t.Errorf("%s: slot %d has another primary", tt.name, i)
			}
			got = append(got, s.Former)
		}
		if diff := cmp.Diff(tt.former, got); diff != "" {
			t.Errorf("%s: former primaries (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A primary that died has left its SYNs to its secondary, which goes on until all
// know who comes next.
func TestHandoverOfTheDead(t *testing.T) {
	before := []bpf.Slot{{Primary: 2, Secondary: 1}, {Primary: 2, Secondary: 3}, {Primary: 3, Secondary: 2}}
	after := []bpf.Slot{{Primary: 3, Secondary: 4}, {Primary: 1, Secondary: 3}, {Primary: 3, Secondary: 1}}
	alive := map[topology.NodeID]bool{1: true, 3: true, 4: true}
	var h handover
	h.follow(1, 1, before, 1, alive)
	var got []topology.NodeID
	for _, s := range h.follow(1, 2, after, 1, alive) {
		got = append(got, s.Former)
	}
	if diff := cmp.Diff([]topology.NodeID{1, 0, 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHandoverForgets(t *testing.T) {
	var h handover
	for epoch := range uint64(100) {
		h.follow(1, epoch+1, []bpf.Slot{{Primary: 2}}, 0, nil) // an agent that never confirms
	}
	if len(h.past) != maxPast {
		t.Errorf("remembers %d tables, want %d", len(h.past), maxPast)
	}
}

func TestConfirmedEpoch(t *testing.T) {
	v := testView()
	v.Agents = map[topology.NodeName]state.Agent{"n1": {SlotEpoch: 4}, "n2": {SlotEpoch: 3}}
	if got := confirmedEpoch(v); got != 3 {
		t.Errorf("confirmed is %d, want 3", got)
	}
	n2 := v.Nodes["n2"]
	n2.State = state.NodeFailed
	v.Nodes["n2"] = n2
	if got := confirmedEpoch(v); got != 4 {
		t.Errorf("confirmed is %d without the failed node, want 4", got)
	}
	v.Slots = nil
	if got := confirmedEpoch(v); got != 0 {
		t.Errorf("confirmed is %d without a table, want 0", got)
	}
}

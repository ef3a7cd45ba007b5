// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// handover keeps the slot tables that some live agent may still go by: their
// primaries answer too, or the secondaries of those that are dead, so that at no
// time a slot is without one. Two answers to a SYN are safe.
type handover struct {
	epoch uint64 // of the newest table; 0: none yet
	slots []bpf.Slot
	past  []pastSlots // oldest first
}

// maxPast bounds the tables that are remembered for an agent that installs none.
const maxPast = 8

// pastSlots is a table that another took the place of.
type pastSlots struct {
	slots []bpf.Slot
	next  uint64 // epoch of the table that followed
}

// follow gives the newest table with its former primaries. confirmed is the
// oldest epoch that a live agent says to have, alive are the nodes that are up.
func (h *handover) follow(self topology.NodeID, epoch uint64, slots []bpf.Slot, confirmed uint64, alive map[topology.NodeID]bool) []bpf.Slot {
	if slots == nil {
		return nil
	}
	if h.epoch != 0 && h.epoch != epoch {
		h.past = append(h.past, pastSlots{h.slots, epoch})
		h.past = h.past[max(0, len(h.past)-maxPast):]
	}
	h.epoch, h.slots = epoch, slots
	h.past = slices.DeleteFunc(h.past, func(p pastSlots) bool { return p.next <= confirmed })
	if len(h.past) == 0 {
		return slots
	}
	out := slices.Clone(slots)
	for i := range out {
		out[i].Former = h.former(self, i, alive)
	}
	return out
}

// former is this node itself if it answered for the slot in any of the past
// tables, else the last that did; nobody if it still does.
func (h *handover) former(self topology.NodeID, slot int, alive map[topology.NodeID]bool) topology.NodeID {
	primary := h.slots[slot].Primary
	if primary == self {
		return topology.Undecided
	}
	former := answerer(h.past[len(h.past)-1].slots[slot], alive)
	for _, p := range h.past {
		if answerer(p.slots[slot], alive) == self {
			former = self
		}
	}
	if former == primary {
		return topology.Undecided
	}
	return former
}

// answerer is who answers the SYNs of a slot.
func answerer(s bpf.Slot, alive map[topology.NodeID]bool) topology.NodeID {
	if alive[s.Primary] {
		return s.Primary
	}
	return s.Secondary
}

// aliveNodes are the ids of the nodes that are up.
func aliveNodes(v state.View) map[topology.NodeID]bool {
	alive := map[topology.NodeID]bool{}
	for _, n := range v.Nodes {
		alive[n.ID] = n.State == state.NodeUp
	}
	return alive
}

// confirmedEpoch is the oldest slot epoch among the agents that are alive, the
// newest epoch if there are none. Failed nodes are fenced and do not count.
func confirmedEpoch(v state.View) uint64 {
	if v.Slots == nil {
		return 0
	}
	oldest := v.Slots.Epoch
	for name, a := range v.Agents {
		if n := v.Nodes[name]; n.ID.Valid() && n.State == state.NodeUp {
			oldest = min(oldest, a.SlotEpoch)
		}
	}
	return oldest
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// handover keeps the slot tables that some live agent may still go by: their
// primaries answer too, so that at no time a slot is without one. Two answers to
// a SYN are safe.
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
// oldest epoch that a live agent says to have.
func (h *handover) follow(self topology.NodeID, epoch uint64, slots []bpf.Slot, confirmed uint64) []bpf.Slot {
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
		out[i].Former = h.former(self, i)
	}
	return out
}

// former is this node itself if it was the slot's primary in any of the past
// tables, else the last that was; nobody if it still is.
func (h *handover) former(self topology.NodeID, slot int) topology.NodeID {
	primary := h.slots[slot].Primary
	if primary == self {
		return topology.Undecided
	}
	former := h.past[len(h.past)-1].slots[slot].Primary
	for _, p := range h.past {
		if p.slots[slot].Primary == self {
			former = self
		}
	}
	if former == primary {
		return topology.Undecided
	}
	return former
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

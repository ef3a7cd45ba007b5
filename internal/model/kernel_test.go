// SPDX-License-Identifier: Apache-2.0

package model

import (
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// kernel is a node's kernel with the programs and their maps: it outlives the
// agent, and not the boot.
type kernel struct {
	self      topology.NodeID // 0: the agent has not told yet
	stoodDown bool
	cleared   uint64
	keys      uint32 // epoch of the cookie keys
	slots     *state.Slots
	before    *state.Slots   // the table before: its guards still watch
	former    []*state.Slots // by which nodes answer too
	alive     map[topology.NodeID]bool
	pickable  []topology.NodeID
	assigned  map[topology.NodeID]uint64
	duties    []duty
	sockets   map[*conn]*socket
	closed    map[*conn]topology.NodeID // tombstones, by the id that they were closed under
	guarded   map[*conn]*record
	awaiting  map[*conn]bool
}

// socket is one that the kernel made.
type socket struct {
	taken   int // requests
	pending int // of these, not yet read by the server
}

// record is what a guard knows of a connection; guard.h keeps it.
type record struct {
	owner       topology.NodeID // 0: unknown
	isn         int             // of the client, as far as known
	ack         int
	named, data bool
}

func newKernel() *kernel {
	return &kernel{
		assigned: map[topology.NodeID]uint64{}, sockets: map[*conn]*socket{}, closed: map[*conn]topology.NodeID{},
		guarded: map[*conn]*record{}, awaiting: map[*conn]bool{},
	}
}

// works tells whether the programs take packets of the VIP.
func (k *kernel) works() bool { return k.self.Valid() && !k.stoodDown }

// isValid checks a cookie's key: the one before and the one after count too.
func (k *kernel) isValid(c cookie) bool { return c.epoch+1 >= k.keys && c.epoch <= k.keys+1 }

// destroy is SOCK_DESTROY of all that there is.
func (k *kernel) destroy() {
	for c := range k.sockets {
		k.close(c)
	}
}

func (k *kernel) close(c *conn) {
	delete(k.sockets, c)
	k.closed[c] = k.self
}

// part is what a node does with SYNs of a slot.
type part int

const (
	nothing part = iota
	answers
	awaits
)

func (k *kernel) partIn(slot int) part {
	if k.slots == nil {
		return nothing
	}
	if k.slots.Primary[slot] == k.self {
		return answers
	}
	for _, table := range k.former {
		if k.answerer(table, slot) == k.self {
			return answers
		}
	}
	if k.slots.Secondary[slot] == k.self {
		return awaits
	}
	return nothing
}

// answerer is who answers by a former table.
func (k *kernel) answerer(table *state.Slots, slot int) topology.NodeID {
	if primary := table.Primary[slot]; k.alive[primary] {
		return primary
	}
	return table.Secondary[slot]
}

// watchAll is that a node guards what all others own.
const watchAll = topology.MaxNodeID + 1

// watches names whose connections of the slot this node guards, by the table in
// force or the one before; acting for anybody makes it look at all.
func (k *kernel) watches(slot int) topology.NodeID {
	watch, before := k.watchedIn(k.slots, slot), k.watchedIn(k.before, slot)
	if watch == topology.Undecided || before == watchAll {
		watch = before
	}
	if watch == topology.Undecided && k.actsForAny(slot) {
		return k.self
	}
	return watch
}

func (k *kernel) watchedIn(table *state.Slots, slot int) topology.NodeID {
	switch {
	case table == nil:
		return topology.Undecided
	case table.Secondary[slot] == k.self:
		return watchAll
	case table.Primary[slot] == k.self:
		return table.Secondary[slot]
	}
	return topology.Undecided
}

func (k *kernel) actsFor(owner topology.NodeID, slot int) bool {
	for _, d := range k.duties {
		if d.owner == owner && d.guards[slot] == k.self {
			return true
		}
	}
	return false
}

func (k *kernel) actsForAny(slot int) bool { return k.newestDuty(slot) != nil }

// newestDuty is the newest failure for which this node acts in a slot.
func (k *kernel) newestDuty(slot int) *duty {
	for i := len(k.duties) - 1; i >= 0; i-- {
		if k.duties[i].guards[slot] == k.self {
			return &k.duties[i]
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// check is called after every step.
func (w *world) check() {
	for _, c := range w.conns {
		w.checkOwners(c)
		w.checkGuards(c.slot)
	}
	w.checkSelves()
}

// checkOwners is I1: at most one unfenced node has a socket for a tuple.
func (w *world) checkOwners(c *conn) {
	var owner *node
	for _, n := range w.nodes {
		if n.port.fenced || n.kernel.sockets[c] == nil {
			continue
		}
		if owner != nil {
			w.violated("I1: %s and %s have a socket of %s", owner.name, n.name, c)
		}
		owner = n
	}
}

// checkAdoption is I2: the owner is the one that the client's ACK named, or the
// guard of a fenced one.
func (w *world) checkAdoption(n *node, c *conn) {
	if c.cookie.owner == n.kernel.self {
		return
	}
	for _, other := range w.nodes {
		if other != n && other.runs && !other.port.fenced && other.kernel.works() && other.kernel.self == c.cookie.owner {
			w.violated("I2: %s (id %d) adopts %s of %s (id %d), which is not fenced", n.name, n.kernel.self, c, other.name, other.kernel.self)
		}
	}
}

// checkGuards: for a failure, one node at most acts in a slot, for as long as a
// cookie may name who failed. Then a guard's id may be another's.
func (w *world) checkGuards(slot int) {
	acting := map[uint64]*node{}
	for _, n := range w.nodes {
		if !w.reaches(n) || !n.kernel.works() {
			continue
		}
		for _, d := range n.kernel.duties {
			since := w.control.view.Failures[d.epoch].Since
			if d.guards[slot] != n.kernel.self || !w.now.Before(since.Add(2*w.control.config.Cookie.Rotate)) {
				continue
			}
			if other := acting[d.epoch]; other != nil {
				w.violated("%s and %s act in slot %d for failure %d", other.name, n.name, slot, d.epoch)
			}
			acting[d.epoch] = n
		}
	}
}

// checkSelves: no two nodes that are about go by one id.
func (w *world) checkSelves() {
	whose := map[topology.NodeID]*node{}
	for _, n := range w.nodes {
		if !w.reaches(n) || !n.kernel.works() {
			continue
		}
		if other := whose[n.kernel.self]; other != nil {
			w.violated("%s and %s go by id %d", other.name, n.name, n.kernel.self)
		}
		whose[n.kernel.self] = n
	}
}

// runFirst: a connection's first request runs once, unless it may run twice, or
// a copy of it was lost to the very node that runs it now.
func (w *world) runFirst(n *node, c *conn) {
	c.ran++
	w.say("%s runs the request of %s", n.name, c)
	if c.ran > 1 && !w.replay && !c.missed[n] {
		w.violated("the request of %s runs again, at %s", c, n.name)
	}
}

// reset ends a connection by the RST that fits the segment. Nobody may have it.
func (w *world) reset(n *node, s segment) {
	if !w.reaches(n) {
		return
	}
	w.say("%s (id %d) resets %s at its %s %d/%d; record %+v", n.name, n.kernel.self, s.conn, s.kind, s.seq, s.ack, n.kernel.guarded[s.conn])
	for _, other := range w.nodes {
		if s.conn.phase == open && w.reaches(other) && other.kernel.sockets[s.conn] != nil {
			w.violated("%s resets %s, which %s has", n.name, s.conn, other.name)
		}
	}
	w.send(n, answer{conn: s.conn, kind: rst, ack: s.ack})
}

// checkView: ids have one owner, epochs grow, a failed node has no slots.
func (w *world) checkView(before, after state.View) {
	owner := map[topology.NodeID]topology.NodeName{}
	for name, n := range after.Nodes {
		if other, twice := owner[n.ID]; twice {
			w.violated("id %d is that of %s and of %s", n.ID, name, other)
		}
		owner[n.ID] = name
		if after.IDs == nil {
			continue
		}
		if rests, is := after.IDs.Failed[n.ID]; is {
			w.violated("%s has id %d, which rests since %v", name, n.ID, rests.Since)
		}
	}
	if before.Slots != nil && after.Slots.Epoch < before.Slots.Epoch {
		w.violated("slot epoch %d after %d", after.Slots.Epoch, before.Slots.Epoch)
	}
	w.checkFailures(before, after)
}

func (w *world) checkFailures(before, after state.View) {
	var newest uint64
	for epoch := range before.Failures {
		newest = max(newest, epoch)
	}
	if before.IDs != nil {
		newest = max(newest, before.IDs.FailureEpoch)
	}
	for epoch, f := range after.Failures {
		if _, known := before.Failures[epoch]; known {
			continue
		}
		w.say("%s (id %d) is failed: %s, failure %d", f.Node, f.ID, f.Reason, epoch)
		if epoch <= newest {
			w.violated("failure %d after failure %d", epoch, newest)
		}
	}
}

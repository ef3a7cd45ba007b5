// SPDX-License-Identifier: Apache-2.0

package model

import (
	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
)

// checkSettled is I3, once all is known to all: whatever has happened, who dials
// is answered and gets an owner that lives, and the request runs once.
func (w *world) checkSettled(t *rapid.T) {
	w.control.away = false
	w.recover()
	w.catchUp(t)
	if w.broken != "" || !w.anyUp() {
		return
	}
	for range 3 {
		c := w.newConn(drawSlot(t))
		w.exchange(t, c)
		w.check()
	}
}

// recover ends what is half done: who is dead is not heard, and has no lease.
func (w *world) recover() {
	for _, n := range w.nodes {
		n.queue = nil
		if !n.acts() || n.port.down {
			w.control.dropAgent(n.name)
		}
	}
	w.answers = nil
	for _, n := range w.nodes {
		if !n.acts() {
			continue
		}
		for _, other := range w.nodes {
			w.suspect(n, other, other != n && (!other.acts() || other.port.down))
		}
	}
	w.tick(w.control.config.Failure.Grace) // so long has it been like that
}

// anyUp tells whether there is a node that can be named, and is in its place.
func (w *world) anyUp() bool {
	for _, n := range w.nodes {
		if w.isUp(n) {
			return true
		}
	}
	return false
}

func (w *world) isUp(n *node) bool {
	have := w.control.view.Nodes[n.name]
	return n.acts() && w.reaches(n) && have.State == state.NodeUp && have.ID == n.kernel.self && n.kernel.works()
}

// isWhole tells whether all that packets get to are in their place. A node that
// hangs and may not be failed, for it would be no minority, names whom it likes.
func (w *world) isWhole() bool {
	for _, n := range w.nodes {
		if w.reaches(n) && n.kernel.works() && !w.isUp(n) {
			return false
		}
	}
	return true
}

// exchange dials and asks, with nothing lost.
func (w *world) exchange(t *rapid.T, c *conn) {
	w.flood(c.speak())
	w.arriveAll(t)
	for _, n := range w.nodes {
		if w.reaches(n) && n.kernel.works() && n.kernel.awaiting[c] && len(w.answers) == 0 {
			w.answer(t, n, c) // its timer ends
		}
	}
	if len(w.answers) == 0 {
		w.violated("I3: nobody answers %s in slot %d", c, c.slot)
		return
	}
	w.hearAll()
	w.arriveAll(t)
	w.flood(c.ask())
	w.arriveAll(t)
	w.hearAll()
	if w.isWhole() && (c.ran != 1 || c.heard != 1) {
		w.violated("I3: %s named id %d: its request ran %d times, it heard %d responses", c, c.cookie.owner, c.ran, c.heard)
	}
}

func (w *world) arriveAll(t *rapid.T) {
	for _, n := range w.nodes {
		for len(n.queue) > 0 {
			w.deliverAt(t, n, 0, false)
		}
	}
}

func (w *world) hearAll() {
	heard := w.answers
	w.answers = nil
	for _, a := range heard {
		if reply, silent := a.conn.take(a); !silent {
			w.flood(reply)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
)

// reaches tells whether packets get to a node, and from it out.
func (w *world) reaches(n *node) bool { return n.runs && !n.port.down && !n.port.fenced }

// flood gives each node that is not fenced a copy.
func (w *world) flood(s segment) {
	for _, n := range w.nodes {
		switch {
		case w.reaches(n):
			n.queue = append(n.queue, s)
		case s.kind == request && s.seq == 0:
			s.conn.missed[n] = true
		}
	}
}

// send takes an answer to its client, if the switch lets it through.
func (w *world) send(n *node, a answer) {
	if w.reaches(n) {
		w.answers = append(w.answers, a)
	}
}

// lose takes a copy out of a node's queue.
func (w *world) lose(n *node, i int) {
	s := n.queue[i]
	n.queue = slices.Delete(slices.Clone(n.queue), i, i+1)
	if s.carries() && s.seq == 0 {
		s.conn.missed[n] = true
	}
}

// applyTables brings what the leader wants into the switch's tables. Its fences
// are in force later: the datapath has its own memory.
func (w *world) applyTables() {
	c := w.control
	if c.away {
		return
	}
	c.orders = nil
	for _, n := range w.nodes {
		have := c.view.Nodes[n.name]
		n.port.tabled = have.State == state.NodeFailed
		if n.port.tabled && c.view.Failures[have.Failure].Fenced == nil {
			c.orders = append(c.orders, have.Failure)
		}
	}
	if w.rules.believesTables {
		w.believe()
	}
}

// settle puts the tables in force, and what was flooded before comes to its end;
// not for those behind the fence, whose queues nobody sees.
func (w *world) settle(t *rapid.T) {
	if w.control.away {
		return
	}
	for _, n := range w.nodes {
		n.port.fenced = n.port.tabled
	}
	for _, n := range w.nodes {
		if !n.port.fenced {
			w.drain(t, n)
		}
	}
	w.believe()
}

// believe has the leader know of the fences that it ordered.
func (w *world) believe() {
	for _, epoch := range w.control.orders {
		w.control.fenced[epoch] = true
	}
	w.control.orders = nil
}

// drain delivers what is on its way to a node, or loses it.
func (w *world) drain(t *rapid.T, n *node) {
	for len(n.queue) > 0 {
		i := rapid.IntRange(0, len(n.queue)-1).Draw(t, "copy")
		if rapid.IntRange(0, 9).Draw(t, "lost") == 9 {
			w.lose(n, i)
			continue
		}
		w.deliverAt(t, n, i, false)
	}
}

// deliverAt gives a node a copy from its queue; twice leaves another there.
func (w *world) deliverAt(t *rapid.T, n *node, i int, twice bool) {
	s := n.queue[i]
	if !twice {
		n.queue = slices.Delete(slices.Clone(n.queue), i, i+1)
	}
	w.deliver(t, n, s)
}

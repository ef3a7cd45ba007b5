// SPDX-License-Identifier: Apache-2.0

package model

import (
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// guard is what a node does with a segment of another's connection: guard.h,
// line by line.
func (w *world) guard(n *node, s segment) {
	k, g := n.kernel, n.kernel.guarded[s.conn]
	owner := topology.Undecided
	if k.mayName(s, g) && s.isFirst() && k.isValid(s.cookie) {
		owner = s.cookie.owner
	}
	switch {
	case owner == topology.Undecided:
		w.onMidStream(n, s, g)
	case k.actsFor(owner, s.conn.slot):
		w.onYoung(n, s, g, owner)
	default:
		k.onNamed(s, g, owner)
	}
}

// mayName tells whether a cookie is worth to be checked.
func (k *kernel) mayName(s segment, g *record) bool {
	watch := k.watches(s.conn.slot)
	switch {
	case g == nil:
		return watch == watchAll || watch == s.cookie.owner || k.actsForAny(s.conn.slot)
	case g.owner == topology.Undecided:
		return k.actsForAny(s.conn.slot) || s.seq-1 < g.isn
	}
	return k.actsFor(g.owner, s.conn.slot) || g.isOfHandshake(s) && s.cookie.owner != g.owner
}

func (g *record) isOfHandshake(s segment) bool { return g.named && g.isn == s.seq-1 }

// note takes what every segment tells.
func (g *record) note(s segment) {
	g.ack = max(g.ack, s.ack)
	g.data = g.data || s.carries()
}

// onYoung adopts in a failed owner's place, or ends what the owner may have begun.
func (w *world) onYoung(n *node, s segment, g *record, owner topology.NodeID) {
	k := n.kernel
	known := g != nil
	if known && g.ack != s.ack {
		w.reset(n, s)
		return
	}
	begun := known && g.data || !known && s.carries()
	if begun && !w.replay && !w.rules.forgetsData {
		k.guarded[s.conn] = &record{owner: owner, isn: s.seq - 1, ack: s.ack, named: true, data: true}
		w.reset(n, s)
		return
	}
	k.guarded[s.conn] = &record{owner: k.self, isn: s.seq - 1, ack: s.ack, named: true}
	if _, closed := k.closed[s.conn]; !closed || w.rules.forgetsClosed {
		w.adopt(n, s)
	}
}

// onNamed remembers the owner.
func (k *kernel) onNamed(s segment, g *record, owner topology.NodeID) {
	watch := k.watches(s.conn.slot)
	switch {
	case g != nil:
		g.owner, g.isn, g.named = owner, s.seq-1, true
		g.note(s)
	case watch == watchAll || watch == owner:
		k.guarded[s.conn] = &record{owner: owner, isn: s.seq - 1, ack: s.ack, named: true, data: s.carries()}
	}
}

// onMidStream goes by the record. Who the owner is of one without, inquire finds.
func (w *world) onMidStream(n *node, s segment, g *record) {
	k := n.kernel
	acting := k.actsForAny(s.conn.slot)
	if g != nil {
		g.note(s)
	} else if k.watches(s.conn.slot) == watchAll || acting {
		g = &record{isn: s.seq - 1, ack: s.ack, data: true}
		k.guarded[s.conn] = g
	}
	if acting && g != nil && g.owner != topology.Undecided && k.actsFor(g.owner, s.conn.slot) {
		w.reset(n, s)
	}
}

// inquire asks the other nodes who has a connection, and takes it for a failed
// one's if all say no: guard_inquiry.go.
func (w *world) inquire(t *rapid.T, n *node, c *conn, g *record) {
	d := n.kernel.newestDuty(c.slot)
	if d == nil || g.owner != topology.Undecided || !n.kernel.works() {
		return
	}
	for _, askee := range askees(n.view, n.name) {
		other := w.node(askee.Name)
		lost := rapid.IntRange(0, 4).Draw(t, "lost") == 4
		answers := !lost && w.reaches(n) && w.reaches(other) && other.kernel.self == askee.ID
		switch {
		case answers && other.kernel.sockets[c] != nil:
			g.owner = askee.ID
			return
		case !answers:
			return
		}
	}
	w.say("%s asked: nobody has %s, it takes it for id %d's", n.name, c, d.owner)
	g.owner = d.owner
}

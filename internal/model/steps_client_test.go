// SPDX-License-Identifier: Apache-2.0

package model

import (
	"pgregory.net/rapid"
)

func (w *world) dial(t *rapid.T) {
	if len(w.conns) >= mostConns {
		t.SkipNow()
	}
	c := w.newConn(drawSlot(t))
	w.flood(c.speak())
}

func (w *world) newConn(slot int) *conn {
	c := &conn{number: len(w.conns) + 1, slot: slot, phase: dialing, missed: map[*node]bool{}}
	w.conns = append(w.conns, c)
	w.say("%s in slot %d dials", c, slot)
	return c
}

func (w *world) ask(t *rapid.T) {
	c := w.oneConn(t, open)
	if c.sent > c.heard || c.sent > 2 {
		t.SkipNow()
	}
	w.say("%s asks", c)
	w.flood(c.ask())
}

func (w *world) sayAgain(t *rapid.T) {
	c := w.oneConn(t, dialing, open)
	if c.phase == open && c.sent == c.heard {
		t.SkipNow()
	}
	w.say("%s says it again", c)
	w.flood(c.speak())
}

func (w *world) hangUp(t *rapid.T) {
	c := w.oneConn(t, open)
	if c.sent > c.heard {
		t.SkipNow()
	}
	c.phase = over
	w.say("%s hangs up", c)
	w.flood(segment{conn: c, kind: fin, cookie: c.cookie, seq: c.sent, ack: c.heard})
}

func (w *world) hear(t *rapid.T) {
	a := one(t, w.answers, "answer")
	if rapid.IntRange(0, 5).Draw(t, "twice") < 5 {
		w.forget(a)
	}
	w.say("%s hears %s %v", a.conn, a.kind, a.cookie)
	if reply, silent := a.conn.take(a); !silent {
		w.flood(reply)
	}
}

func (w *world) loseAnswer(t *rapid.T) { w.forget(one(t, w.answers, "answer")) }

func (w *world) forget(a answer) {
	for i := range w.answers {
		if w.answers[i] == a {
			w.answers = append(w.answers[:i:i], w.answers[i+1:]...)
			return
		}
	}
}

func hasQueue(n *node) bool { return n.runs && len(n.queue) > 0 }

func (w *world) copyArrives(t *rapid.T) {
	n := w.oneNode(t, hasQueue)
	i := rapid.IntRange(0, len(n.queue)-1).Draw(t, "copy")
	w.say("%s gets %s of %s", n.name, n.queue[i].kind, n.queue[i].conn)
	w.deliverAt(t, n, i, rapid.IntRange(0, 3).Draw(t, "twice") == 3)
}

func (w *world) queueArrives(t *rapid.T) {
	n := w.oneNode(t, hasQueue)
	w.say("%s gets all its %d copies", n.name, len(n.queue))
	w.drain(t, n)
}

// trafficFlows delivers what is on its way to nodes, and to clients.
func (w *world) trafficFlows(t *rapid.T) {
	w.say("traffic flows")
	for _, n := range w.nodes {
		if hasQueue(n) && rapid.IntRange(0, 4).Draw(t, "slow") < 4 {
			w.drain(t, n)
		}
	}
	for len(w.answers) > 0 {
		w.hear(t)
	}
}

func (w *world) copyLost(t *rapid.T) {
	n := w.oneNode(t, hasQueue)
	i := rapid.IntRange(0, len(n.queue)-1).Draw(t, "copy")
	w.say("%s never gets %s of %s", n.name, n.queue[i].kind, n.queue[i].conn)
	w.lose(n, i)
}

func (w *world) timerEnds(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return len(n.kernel.awaiting) > 0 && n.kernel.works() })
	for _, c := range w.conns {
		if n.kernel.awaiting[c] {
			delete(n.kernel.awaiting, c)
			w.answer(t, n, c)
			return
		}
	}
}

func (w *world) inquiryEnds(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.acts() && n.ready && len(n.kernel.duties) > 0 })
	for _, c := range w.conns {
		if g := n.kernel.guarded[c]; g != nil {
			w.inquire(t, n, c, g)
		}
	}
}

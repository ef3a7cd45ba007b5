// SPDX-License-Identifier: Apache-2.0

package model

import (
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// deliver gives a node one packet of a client: onevip.bpf.c in a few words.
func (w *world) deliver(t *rapid.T, n *node, s segment) {
	k := n.kernel
	if !n.runs || !k.works() && !(w.rules.staysAwake && k.self.Valid()) {
		return
	}
	if s.kind == syn {
		w.onSYN(t, n, s.conn)
		return
	}
	delete(k.awaiting, s.conn)
	if sock := k.sockets[s.conn]; sock != nil {
		w.onOwn(n, sock, s)
		return
	}
	w.onUnowned(n, s)
}

func (w *world) onSYN(t *rapid.T, n *node, c *conn) {
	switch n.kernel.partIn(c.slot) {
	case answers:
		w.answer(t, n, c)
	case awaits:
		n.kernel.awaiting[c] = true
	}
}

// answer names an owner. What heartbeats say of loads is anybody's guess.
func (w *world) answer(t *rapid.T, n *node, c *conn) {
	k := n.kernel
	var candidates []scheduler.Candidate
	for _, id := range k.pickable {
		active := rapid.Uint32Range(0, 2).Draw(t, "active")
		candidates = append(candidates, scheduler.Candidate{Node: id, Weight: 1, Active: active, Assigned: k.assigned[id]})
	}
	owner := scheduler.Pick(topology.LeastConnection, candidates)
	if !owner.Valid() || k.keys == 0 {
		return
	}
	k.assigned[owner]++
	w.send(n, answer{conn: c, kind: synAck, cookie: cookie{owner, k.keys}})
}

// onOwn takes a segment into a socket.
func (w *world) onOwn(n *node, sock *socket, s segment) {
	switch {
	case s.kind == fin && s.seq == sock.taken:
		n.kernel.close(s.conn)
		return
	case s.kind == request && s.seq == sock.taken:
		sock.taken++
		sock.pending++
		w.serve(n, s.conn, sock)
	case s.kind == request && s.seq < sock.taken && sock.pending == 0:
		w.send(n, answer{conn: s.conn, kind: response}) // the client has not heard it
	}
}

// serve runs what is pending, unless the server is stopped.
func (w *world) serve(n *node, c *conn, sock *socket) {
	if n.hung || sock.pending == 0 {
		return
	}
	sock.pending = 0
	if sock.taken == 1 {
		w.runFirst(n, c)
	}
	w.send(n, answer{conn: c, kind: response})
}

// onUnowned adopts, guards, or drops.
func (w *world) onUnowned(n *node, s segment) {
	k := n.kernel
	closedAs, closed := k.closed[s.conn]
	named := s.isFirst() && s.cookie.owner == k.self && k.isValid(s.cookie)
	switch {
	case named && closed && !w.rules.forgetsClosed:
		return
	case named:
		w.adopt(n, s)
	case closed && (closedAs == k.self || w.rules.speaksForOldSelf):
		w.reset(n, s)
	case k.watches(s.conn.slot) != topology.Undecided:
		w.guard(n, s)
	}
}

// adopt makes the socket, and gives it what the segment carries.
func (w *world) adopt(n *node, s segment) {
	w.checkAdoption(n, s.conn)
	w.say("%s (id %d) adopts %s by %s, which names id %d", n.name, n.kernel.self, s.conn, s.kind, s.cookie.owner)
	sock := &socket{}
	n.kernel.sockets[s.conn] = sock
	w.onOwn(n, sock, s)
}

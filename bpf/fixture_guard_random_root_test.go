// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// watcher is the guard told once more in Go, for a secondary that acts for whoever has
// failed, and one tuple. It is told the truth, which connection a segment is of; the
// program has to find it out.
type watcher struct {
	failed []topology.NodeID
	has    bool // there is a record, of connection conn
	conn   int
	owner  topology.NodeID // as far as known
	data   bool            // the client sent some, or may have, or has heard its owner
	heard  bool            // the client acknowledged more than the SYN/ACK
}

// talk is a client's segment: the first of its connection or a later one.
type talk struct {
	conn        int
	owner       topology.NodeID
	first, more bool // more: acknowledges data
	payload     int
}

func (w *watcher) isFailed(id topology.NodeID) bool { return slices.Contains(w.failed, id) }

func (w *watcher) reason(s talk) Reason {
	known := w.has && w.conn == s.conn
	if s.first && w.isFailed(s.owner) {
		return w.young(s, known)
	}
	if !known {
		*w = watcher{failed: w.failed, has: true, conn: s.conn, data: !s.first}
	}
	if s.first {
		w.owner = s.owner
	}
	w.data = w.data || s.payload > 0 || s.more
	w.heard = w.heard || s.more
	switch {
	case s.first || len(w.failed) == 0:
		return ReasonForeign
	case w.owner == topology.Undecided:
		return ReasonStray
	case w.isFailed(w.owner):
		return ReasonResetOrphan
	}
	return ReasonForeign
}

// young is the first segment to a failed node.
func (w *watcher) young(s talk, known bool) Reason {
	if known && w.heard {
		return ReasonResetOrphan
	}
	if known && w.data || !known && s.payload > 0 {
		*w = watcher{failed: w.failed, has: true, conn: s.conn, owner: s.owner, data: true}
		return ReasonResetYoung
	}
	*w = watcher{failed: w.failed, has: true, conn: s.conn, owner: rigSelf}
	return ReasonResetNoListener
}

// speaker is a client that uses one tuple again and again.
type speaker struct {
	f        family
	cookie   cookie
	n        int
	next     uint32 // of its sequence numbers
	ack      uint32
	tsval    uint32
	rng      *rand.Rand
	keyOfNow [16]byte
}

// begin starts another connection, whose owner is one of two. Numbers near the old
// ones would make it the same to a guard that misses its beginning; TCP's clock keeps them
// apart in all but the first two seconds.
func (s *speaker) begin() {
	s.n++
	s.cookie = s.f.theirs([]topology.NodeID{rigOther, rigThird}[s.rng.IntN(2)])
	s.cookie.clientISN = s.next + 1<<28 + s.rng.Uint32N(1<<31)
	s.next = s.cookie.clientISN + 1
	s.ack = s.cookie.isn(s.keyOfNow) + 1
}

// say makes one segment of the connection.
func (s *speaker) say() ([]byte, talk) {
	words := talk{conn: s.n, owner: s.cookie.owner, payload: s.rng.IntN(2) * s.rng.IntN(900)}
	tcp := s.cookie.ack(s.keyOfNow)
	if s.rng.IntN(3) == 0 {
		words.first = true
		return s.f.data(tcp, words.payload, 777, s.cookie.tsval(s.keyOfNow)), words
	}
	tcp.Seq = s.next + 1 + uint32(s.rng.IntN(3000))
	if s.rng.IntN(2) == 0 {
		s.ack += 1 + uint32(s.rng.IntN(9000))
		words.more = true
	}
	tcp.Ack = s.ack
	words.more = s.ack != s.cookie.isn(s.keyOfNow)+1
	s.next = tcp.Seq + uint32(words.payload)
	s.tsval++
	return s.f.data(tcp, words.payload, s.tsval, 1), words
}

// Clients speak, fall silent, begin anew on their tuple and are heard only now and
// then, while nodes fail and come back: program and model say the same.
func TestFixtureGuardRandom(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigOther, rigSelf)
	for i, f := range families {
		rng := rand.New(rand.NewPCG(randomSeed, uint64(i)))
		s := &speaker{f: f, rng: rng, keyOfNow: testKeys(100).Current}
		w := &watcher{}
		r.setFailed(t)
		s.begin()
		seen := map[Reason]int{}
		for step := range 3000 {
			switch rng.IntN(12) {
			case 0:
				s.begin()
			case 1:
				w.failed = [][]topology.NodeID{nil, {rigOther}, {rigThird}, {rigOther, rigThird}}[rng.IntN(4)]
				r.setFailed(t, w.failed...)
			case 2:
				r.sayRST(t, s, w)
			}
			frame, words := s.say()
			if rng.IntN(6) == 0 {
				continue // lost
			}
			before := fmt.Sprintf("%+v", *w)
			want := w.reason(words)
			if got := r.send(t, frame); got.reason != want {
				t.Fatalf("%s, step %d: %s, want %s, of %+v; %s", f.name, step, got.reason, want, words, before)
			}
			seen[want]++
			r.expectWatched(t, f, w)
		}
		t.Logf("%s: %v", f.name, seen)
		for _, want := range []Reason{ReasonForeign, ReasonStray, ReasonResetOrphan, ReasonResetYoung, ReasonResetNoListener} {
			if seen[want] == 0 {
				t.Errorf("no segment got to %s: the generator is too weak", want)
			}
		}
		r.forgetAll(t)
	}
	r.expectViolations(t, 0)
}

// sayRST ends the connection, as far as the guard knows of it.
func (r *rig) sayRST(t *testing.T, s *speaker, w *watcher) {
	t.Helper()
	r.expect(t, s.f.segment(webPort, layers.TCP{RST: true, Seq: s.next}), ReasonForeign)
	if w.has && w.conn == s.n {
		*w = watcher{failed: w.failed}
	}
	s.begin()
}

func (r *rig) expectWatched(t *testing.T, f family, w *watcher) {
	t.Helper()
	var g onevipOvGuarded
	if err := r.f.objs.Guarded.Lookup(f.flow(webPort), &g); err != nil {
		t.Fatal(err)
	}
	if topology.NodeID(g.Owner) != w.owner || (g.Flags&guardData != 0) != w.data {
		t.Fatalf("record %+v, want owner %d, data %t", g, w.owner, w.data)
	}
}

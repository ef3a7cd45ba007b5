// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"

	"github.com/onevip/onevip/topology"
)

// cookie is the sequence number of a SYN/ACK: it names an owner, under a key.
type cookie struct {
	owner topology.NodeID
	epoch uint32
}

// kind is what a segment, or an answer to a client, is.
type kind string

const (
	syn      kind = "SYN"
	plain    kind = "ACK"
	request  kind = "request"
	fin      kind = "FIN"
	synAck   kind = "SYN/ACK"
	response kind = "response"
	rst      kind = "RST"
)

// segment is what a client sends. Requests and responses have the length 1: seq
// counts those that were sent before, ack those that were heard.
type segment struct {
	conn     *conn
	kind     kind
	cookie   cookie // ack_seq-1, where ack is 0
	seq, ack int
}

// isFirst tells whether the segment can carry a cookie that is valid.
func (s segment) isFirst() bool { return s.seq == 0 && s.ack == 0 }

// carries tells whether the guard sees anything of the request in it.
func (s segment) carries() bool { return s.kind == request || s.kind == fin }

// answer is what a client gets.
type answer struct {
	conn   *conn
	kind   kind
	cookie cookie // of a SYN/ACK
	ack    int    // responses that the client has heard if a RST fits
}

// phase is how far a client has come.
type phase string

const (
	dialing phase = "dialing"
	open    phase = "open"
	over    phase = "over" // reset, or closed by the client
)

// conn is one connection of a client, each on a tuple of its own.
type conn struct {
	number int
	slot   int
	phase  phase
	cookie cookie // that the client chose
	sent   int    // requests
	heard  int    // responses
	ran    int    // how often its first request was run
	// missed are the nodes that a copy of the first request was lost to: as guards
	// they can not know that the owner had it.
	missed map[*node]bool
}

func (c *conn) String() string { return fmt.Sprintf("conn %d", c.number) }

// speak is what the client sends next, or sends again.
func (c *conn) speak() segment {
	s := segment{conn: c, kind: plain, cookie: c.cookie, seq: c.sent, ack: c.heard}
	switch {
	case c.phase == dialing:
		s.kind = syn
	case c.sent > c.heard:
		s.kind, s.seq = request, c.heard
	}
	return s
}

// ask sends a request, one at a time.
func (c *conn) ask() segment {
	c.sent++
	return c.speak()
}

// take is what the client does with an answer; silent: it says nothing to it.
func (c *conn) take(a answer) (reply segment, silent bool) {
	switch {
	case c.phase == over:
		return segment{}, true
	case a.kind == synAck && c.phase == dialing:
		c.phase, c.cookie = open, a.cookie
	case a.kind == synAck:
		return segment{conn: c, kind: plain, cookie: c.cookie, seq: c.sent, ack: c.heard}, false // a challenge ACK
	case a.kind == response && c.sent > c.heard:
		c.heard++
	case a.kind == rst && c.phase == open && a.ack == c.heard:
		c.phase = over
		return segment{}, true
	default:
		return segment{}, true
	}
	return c.speak(), false
}

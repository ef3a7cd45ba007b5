// SPDX-License-Identifier: Apache-2.0

package scheduler

import "encoding/binary"

// Where things stand in a TLS record that begins with a ClientHello (RFC 8446, 5.1
// and 4.1.2), in bytes.
const (
	recordHeader    = 5  // type, version, length
	handshakeHeader = 4  // type, length
	sessionID       = 43 // behind version and random
)

// hello is a ClientHello, as far as its first record and what is looked at go.
type hello struct {
	looked
	whole int // where it ends
	limit int // up to where there is something to look at
}

// serverName is the host_name in the server_name extension (RFC 6066, 3).
func (l looked) serverName() (string, Fallback) {
	if !l.has(0, recordHeader+handshakeHeader) {
		return "", l.cut
	}
	if l.data[0] != 22 || l.data[1] != 3 || l.data[5] != 1 {
		return "", FallbackNotTLS
	}
	h := hello{looked: l}
	record := recordHeader + h.number(3, 2)
	h.whole = recordHeader + handshakeHeader + h.number(6, 3)
	h.limit = min(h.whole, record, len(l.data))
	at, end, why := h.extensions()
	if why != Inspected {
		return "", why
	}
	for at < end {
		if at+4 > h.limit {
			return "", h.over()
		}
		kind, body := h.number(at, 2), at+4
		at = body + h.number(at+2, 2)
		if at > end {
			return "", FallbackNotTLS
		}
		if kind == 0 {
			return h.firstName(body, at)
		}
	}
	return "", FallbackNoKey
}

// number is the big-endian number of size bytes at `at`.
func (h hello) number(at, size int) int {
	var b [4]byte
	copy(b[4-size:], h.data[at:at+size])
	return int(binary.BigEndian.Uint32(b[:]))
}

// over says what it means that there should be something at the limit: a hello
// that is all there is malformed; else the rest is in another segment, or record.
func (h hello) over() Fallback {
	if h.limit == h.whole {
		return FallbackNotTLS
	}
	return h.cut
}

// extensions gives where they begin and end.
func (h hello) extensions() (at, end int, why Fallback) {
	at = sessionID
	for _, size := range []int{1, 2, 1} { // session id, cipher suites, compression methods
		if at+size > h.limit {
			return 0, 0, h.over()
		}
		at += size + h.number(at, size)
	}
	if at == h.whole {
		return 0, 0, FallbackNoKey // TLS 1.2 allows none
	}
	if at+2 > h.limit {
		return 0, 0, h.over()
	}
	end = at + 2 + h.number(at, 2)
	if end != h.whole {
		return 0, 0, FallbackNotTLS
	}
	return at + 2, end, Inspected
}

// firstName reads the list of names, which has one: a second must be of another
// type, and there is none.
func (h hello) firstName(at, end int) (string, Fallback) {
	name := at + 5 // behind the list's length, the name's type and length
	switch {
	case name > end:
		return "", FallbackNotTLS
	case name > h.limit:
		return "", h.over()
	}
	length := h.number(at+3, 2)
	switch {
	case h.data[at+2] != 0 || length == 0:
		return "", FallbackNoKey
	case name+length > end:
		return "", FallbackNotTLS
	case name+length > h.limit:
		return "", h.over()
	}
	return lower(string(h.data[name : name+length])), Inspected
}

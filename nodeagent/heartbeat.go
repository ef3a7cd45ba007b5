// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/onevip/onevip/topology"
)

// The stored form of a heartbeat: docs/formats/heartbeat.md. All integers are
// big-endian.
const (
	heartbeatEtherType = 0x88B5 // IEEE 802, local experimental 1
	heartbeatMagic     = "1VIP"
	heartbeatVersion   = 1

	headerLen   = 26
	serviceLen  = 8
	adoptionLen = 9
	macLen      = 16 // HMAC-SHA-256, its first 16 bytes (RFC 2104, section 5)

	// minFrame is the smallest limit to encode under: one service with one
	// adoption must fit.
	minFrame = headerLen + serviceLen + adoptionLen + macLen
	// maxFrame is the largest payload of an Ethernet frame that is sent or
	// accepted, jumbo frames or not.
	maxFrame = 1500
)

const (
	flagLeaving = 1 << 0 // of the header

	flagHealthy = 1 << 0 // of a service
	flagFull    = 1 << 1
)

// heartbeat is what a node says of itself. One that does not fit in a frame
// goes in several, each with a part of the services or of their adoptions.
type heartbeat struct {
	Node        topology.NodeID
	Incarnation uint64 // of the node's boot
	Sequence    uint64 // grows with every frame of an incarnation
	Leaving     bool   // the agent stops: pick this node no more
	Services    []serviceBeat
}

// serviceBeat is one service in a heartbeat.
type serviceBeat struct {
	Service       topology.ServiceID
	Healthy, Full bool
	Active        uint32
	Adopted       []adoption
}

// adoption is how many connections the node adopted that a primary had
// assigned, since its programs were loaded. A primary that is not listed says
// nothing: what was known of it before stays.
type adoption struct {
	Primary topology.NodeID
	Total   uint64
}

// encode gives the frames' payloads, each at most limit bytes long, limit being
// at least minFrame. Their sequences follow each other from h.Sequence.
func (h heartbeat) encode(key []byte, limit int) [][]byte {
	w := frameWriter{head: h, key: key, limit: min(limit, maxFrame)}
	w.begin()
	for _, s := range h.Services {
		w.add(s)
	}
	w.end()
	return w.frames
}

// frameWriter fills frames one after the other.
type frameWriter struct {
	head   heartbeat
	key    []byte
	limit  int
	frames [][]byte

	buf      []byte
	services int
}

func (w *frameWriter) begin() {
	w.buf = make([]byte, headerLen, w.limit)
	w.services = 0
}

// end completes the frame under way: header, then MAC.
func (w *frameWriter) end() {
	b := w.buf
	copy(b, heartbeatMagic)
	b[4] = heartbeatVersion
	b[5] = byte(w.head.Node)
	if w.head.Leaving {
		b[6] = flagLeaving
	}
	b[7] = byte(w.services)
	binary.BigEndian.PutUint64(b[8:], w.head.Incarnation)
	binary.BigEndian.PutUint64(b[16:], w.head.Sequence+uint64(len(w.frames)))
	binary.BigEndian.PutUint16(b[24:], uint16(len(b)+macLen))
	w.frames = append(w.frames, append(b, authenticate(w.key, b)...))
}

// room is how many more bytes the frame under way takes.
func (w *frameWriter) room() int { return w.limit - macLen - len(w.buf) }

// add writes a service, its adoptions over as many frames as they need.
func (w *frameWriter) add(s serviceBeat) {
	rest := s.Adopted
	for first := true; first || len(rest) > 0; first = false {
		if w.room() < serviceLen+min(len(rest), 1)*adoptionLen || w.services == 255 {
			w.end()
			w.begin()
		}
		n := min(len(rest), (w.room()-serviceLen)/adoptionLen, 255)
		w.put(s, rest[:n])
		rest = rest[n:]
	}
}

func (w *frameWriter) put(s serviceBeat, adopted []adoption) {
	var flags byte
	if s.Healthy {
		flags |= flagHealthy
	}
	if s.Full {
		flags |= flagFull
	}
	b := binary.BigEndian.AppendUint16(w.buf, uint16(s.Service))
	b = append(b, flags, byte(len(adopted)))
	b = binary.BigEndian.AppendUint32(b, s.Active)
	for _, a := range adopted {
		b = append(b, byte(a.Primary))
		b = binary.BigEndian.AppendUint64(b, a.Total)
	}
	w.buf = b
	w.services++
}

func authenticate(key, message []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(message)
	return m.Sum(nil)[:macLen]
}

// decode reads one frame's payload, which Ethernet may have padded. Nothing is
// believed, and nothing allocated for, before the MAC is verified.
func decode(payload, key []byte) (heartbeat, refusal) {
	if len(payload) < headerLen+macLen || string(payload[:4]) != heartbeatMagic || payload[4] != heartbeatVersion {
		return heartbeat{}, refusedForeign
	}
	length := int(binary.BigEndian.Uint16(payload[24:]))
	if length < headerLen+macLen || length > min(len(payload), maxFrame) {
		return heartbeat{}, refusedLength
	}
	signed, mac := payload[:length-macLen], payload[length-macLen:length]
	if !hmac.Equal(mac, authenticate(key, signed)) {
		return heartbeat{}, refusedForged
	}
	return parse(signed)
}

// parse reads header and services of an authentic frame without its MAC.
func parse(b []byte) (heartbeat, refusal) {
	h := heartbeat{
		Node:        topology.NodeID(b[5]),
		Leaving:     b[6]&flagLeaving != 0,
		Incarnation: binary.BigEndian.Uint64(b[8:]),
		Sequence:    binary.BigEndian.Uint64(b[16:]),
	}
	if !h.Node.Valid() {
		return heartbeat{}, refusedMalformed
	}
	rest := b[headerLen:]
	for range b[7] {
		s, n := parseService(rest)
		if n == 0 {
			return heartbeat{}, refusedMalformed
		}
		h.Services = append(h.Services, s)
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return heartbeat{}, refusedMalformed
	}
	return h, accepted
}

// parseService reads one service and gives its length in bytes, 0 if b is too
// short for it or names a primary that can not be.
func parseService(b []byte) (serviceBeat, int) {
	if len(b) < serviceLen {
		return serviceBeat{}, 0
	}
	s := serviceBeat{
		Service: topology.ServiceID(binary.BigEndian.Uint16(b)),
		Healthy: b[2]&flagHealthy != 0,
		Full:    b[2]&flagFull != 0,
		Active:  binary.BigEndian.Uint32(b[4:]),
	}
	end := serviceLen + int(b[3])*adoptionLen
	if len(b) < end {
		return serviceBeat{}, 0
	}
	for at := serviceLen; at < end; at += adoptionLen {
		a := adoption{Primary: topology.NodeID(b[at]), Total: binary.BigEndian.Uint64(b[at+1:])}
		if !a.Primary.Valid() {
			return serviceBeat{}, 0
		}
		s.Adopted = append(s.Adopted, a)
	}
	return s, end
}

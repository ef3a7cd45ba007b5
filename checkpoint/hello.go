// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"time"
)

// StreamID names a stream for as long as it lives, across its servers. The
// client draws it at random.
type StreamID [16]byte

// String returns the id in hexadecimal.
func (id StreamID) String() string { return hex.EncodeToString(id[:]) }

// LogValue makes logs show the id in hexadecimal.
func (id StreamID) LogValue() slog.Value { return slog.StringValue(id.String()) }

func newStreamID() StreamID {
	var id StreamID
	rand.Read(id[:]) // never fails: crypto/rand
	return id
}

// hello is the client's first frame on each connection.
type hello struct {
	stream   StreamID
	received uint64        // bytes of output that the client has
	maxToken int           // largest checkpoint that it takes, sealed
	replay   int           // bytes of input that it can hold for replay
	hold     int           // bytes of output that it can hold back
	silence  time.Duration // after which it calls the server dead
	service  string        // "" = whatever is served here
	token    []byte        // newest checkpoint; empty = from the beginning
}

var helloMagic = [4]byte{'O', 'V', 'C', 'P'}

// Bytes of a hello without its service and its token, and the bounds of these.
const (
	helloFixed = 4 + 1 + 16 + 8 + 4 + 4 + 4 + 4 + 1
	maxService = 255
)

func (h hello) encode() []byte {
	b := make([]byte, 0, helloFixed+len(h.service)+len(h.token))
	b = append(b, helloMagic[:]...)
	b = append(b, version)
	b = append(b, h.stream[:]...)
	b = binary.BigEndian.AppendUint64(b, h.received)
	b = binary.BigEndian.AppendUint32(b, uint32(h.maxToken))
	b = binary.BigEndian.AppendUint32(b, uint32(h.replay))
	b = binary.BigEndian.AppendUint32(b, uint32(h.hold))
	b = binary.BigEndian.AppendUint32(b, uint32(h.silence.Milliseconds()))
	b = append(b, byte(len(h.service)))
	b = append(b, h.service...)
	return append(b, h.token...)
}

// checkHello bounds the first frame of a connection.
func checkHello(maxToken int) func(header) error {
	return func(h header) error {
		if h.kind != frameHello {
			return refuse(ReasonProtocol, "first frame has kind %d, want a hello", h.kind)
		}
		if h.length > helloFixed+maxService+maxToken {
			return refuse(ReasonTooLarge, "hello of %d bytes; a checkpoint may have %d here", h.length, maxToken)
		}
		return checkLength(h, len(helloMagic)+1, helloFixed+maxService+maxToken)
	}
}

// parseHello reads the payload of a hello. Its token is part of p.
func parseHello(p []byte) (hello, error) {
	if len(p) < len(helloMagic)+1 || [4]byte(p) != helloMagic {
		return hello{}, refuse(ReasonProtocol, "no checkpoint client at the other end")
	}
	if p[4] != version {
		return hello{}, refuse(ReasonVersion, "client speaks version %d, this server %d", p[4], version)
	}
	if len(p) < helloFixed || len(p) < helloFixed+int(p[helloFixed-1]) {
		return hello{}, refuse(ReasonProtocol, "hello of %d bytes is cut off", len(p))
	}
	h := hello{
		stream:   StreamID(p[5:]),
		received: binary.BigEndian.Uint64(p[21:]),
		maxToken: int(binary.BigEndian.Uint32(p[29:])),
		replay:   int(binary.BigEndian.Uint32(p[33:])),
		hold:     int(binary.BigEndian.Uint32(p[37:])),
		silence:  time.Duration(binary.BigEndian.Uint32(p[41:])) * time.Millisecond,
	}
	rest := p[helloFixed:]
	n := int(p[helloFixed-1])
	h.service, h.token = string(rest[:n]), rest[n:]
	return h, nil
}

// accept is the server's answer to a hello.
type accept struct {
	hold      bool          // deliver output only once a checkpoint covers it
	in, out   uint64        // offsets from which both directions go on
	heartbeat time.Duration // longest gap between two frames of the server
}

const (
	acceptSize = 1 + 1 + 8 + 8 + 4
	acceptHold = 1 << 0
)

func (a accept) encode() []byte {
	b := make([]byte, 0, acceptSize)
	var flags byte
	if a.hold {
		flags |= acceptHold
	}
	b = append(b, version, flags)
	b = binary.BigEndian.AppendUint64(b, a.in)
	b = binary.BigEndian.AppendUint64(b, a.out)
	return binary.BigEndian.AppendUint32(b, uint32(a.heartbeat.Milliseconds()))
}

// checkAccept bounds the server's first frame.
func checkAccept(h header) error {
	switch h.kind {
	case frameAccept:
		return checkLength(h, acceptSize, acceptSize)
	case frameRefusal:
		return checkLength(h, 1, 1+maxRefusalDetail)
	}
	return refuse(ReasonProtocol, "first frame has kind %d, want accept or refusal", h.kind)
}

func parseAccept(p []byte) (accept, error) {
	if len(p) != acceptSize {
		return accept{}, refuse(ReasonProtocol, "accept of %d bytes, want %d", len(p), acceptSize)
	}
	if p[0] != version {
		return accept{}, refuse(ReasonVersion, "server speaks version %d, this client %d", p[0], version)
	}
	return accept{
		hold:      p[1]&acceptHold != 0,
		in:        binary.BigEndian.Uint64(p[2:]),
		out:       binary.BigEndian.Uint64(p[10:]),
		heartbeat: time.Duration(binary.BigEndian.Uint32(p[18:])) * time.Millisecond,
	}, nil
}

// parseOffset reads the payload of an offset frame.
func parseOffset(p []byte) uint64 { return binary.BigEndian.Uint64(p) }

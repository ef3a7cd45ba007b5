// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"io"
)

// version of the wire format: in hello, accept and checkpoints.
const version = 1

// frameKind is the first byte of a frame.
type frameKind uint8

const (
	frameHello      frameKind = 1 // client, once, first
	frameAccept     frameKind = 2 // server, once, first
	frameRefusal    frameKind = 3 // server, last
	frameData       frameKind = 4 // both
	frameCheckpoint frameKind = 5 // server
	frameHeartbeat  frameKind = 6 // both
	frameOffset     frameKind = 7 // server: the offset of the data that follows
	frameEnd        frameKind = 8 // both: no more data from here
)

const (
	headerSize       = 5
	maxFrame         = 1 << 30 // of data, which is never buffered as a whole
	maxRefusalDetail = 255
	offsetSize       = 8
)

// header is what each frame begins with: a byte of kind and 32 bits of payload
// length, big-endian.
type header struct {
	kind   frameKind
	length int // bytes
}

func (h header) put(b []byte) {
	b[0] = byte(h.kind)
	binary.BigEndian.PutUint32(b[1:], uint32(h.length))
}

// parseHeader reads a header; the length is still to be checked.
func parseHeader(b []byte) header {
	return header{kind: frameKind(b[0]), length: int(binary.BigEndian.Uint32(b[1:]))}
}

// frame returns a whole frame. The payload must not exceed maxFrame.
func frame(kind frameKind, payload []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	header{kind, len(payload)}.put(b)
	return append(b, payload...)
}

// checkFromServer says whether a client may go on reading the frame: the kind
// is one that servers send after accept, and the length within its bound.
func checkFromServer(h header, maxToken int) error {
	switch h.kind {
	case frameData:
		return checkLength(h, 0, maxFrame)
	case frameCheckpoint:
		return checkLength(h, 1, maxToken)
	case frameHeartbeat, frameEnd:
		return checkLength(h, 0, 0)
	case frameOffset:
		return checkLength(h, offsetSize, offsetSize)
	case frameRefusal:
		return checkLength(h, 1, 1+maxRefusalDetail)
	}
	return refuse(ReasonProtocol, "unexpected frame kind %d from the server", h.kind)
}

// checkFromClient is checkFromServer's mirror, for what follows the hello.
func checkFromClient(h header) error {
	switch h.kind {
	case frameData:
		return checkLength(h, 0, maxFrame)
	case frameHeartbeat, frameEnd:
		return checkLength(h, 0, 0)
	}
	return refuse(ReasonProtocol, "unexpected frame kind %d from the client", h.kind)
}

func checkLength(h header, least, most int) error {
	if h.length >= least && h.length <= most {
		return nil
	}
	return refuse(ReasonProtocol, "frame kind %d has %d bytes, want %d to %d", h.kind, h.length, least, most)
}

// readFrame reads one frame of the wanted kinds, with the payload in memory:
// only for the handshake. Errors are of the reader, or a *Refusal.
func readFrame(r io.Reader, check func(header) error) (frameKind, []byte, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, nil, err
	}
	h := parseHeader(b[:])
	if err := check(h); err != nil {
		return 0, nil, err
	}
	payload := make([]byte, h.length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	return h.kind, payload, nil
}

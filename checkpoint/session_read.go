// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bufio"
	"io"
)

// inputBuffer holds a request line or a chat message.
const inputBuffer = 4 << 10

// Input returns the client's bytes. Bytes that lie in the reader's buffer are
// not consumed yet: a checkpoint does not cover them, and they come again after
// a resume. Wrapping it in another buffer would break that; peek, or read
// lines, here.
func (s *Session) Input() *bufio.Reader {
	if s.input == nil {
		s.input = bufio.NewReaderSize((*inputFrames)(s), inputBuffer)
	}
	return s.input
}

// Read reads from Input. It returns io.EOF when the client has closed its
// direction, ErrClientGone when the connection is lost.
func (s *Session) Read(p []byte) (int, error) { return s.Input().Read(p) }

// Consumed returns the offset up to which the application has consumed the
// input. Only the goroutine that reads may call it.
func (s *Session) Consumed() uint64 {
	if s.input == nil {
		return s.arrived.Load()
	}
	return s.arrived.Load() - uint64(s.input.Buffered())
}

// inputFrames is the Session as the source of its input buffer.
type inputFrames Session

// Read takes data out of frames.
func (s *inputFrames) Read(p []byte) (int, error) {
	for s.left == 0 {
		if s.inDone {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.raw.Read(p[:min(len(p), s.left)])
	s.left -= n
	s.arrived.Add(uint64(n))
	if err != nil {
		return n, gone(err)
	}
	return n, nil
}

// next reads a header.
func (s *inputFrames) next() error {
	b, err := s.raw.Peek(headerSize)
	if err != nil {
		return gone(err)
	}
	h := parseHeader(b)
	if err := checkFromClient(h); err != nil {
		return err
	}
	if _, err := s.raw.Discard(headerSize); err != nil {
		return gone(err)
	}
	switch h.kind {
	case frameData:
		s.left = h.length
	case frameEnd:
		s.inDone = true
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// ErrUncovered is returned by a Session's writing when Delivery is Committed
// and the client could not hold back what is written: take a checkpoint first.
var ErrUncovered = errors.New("checkpoint: more output than the client can hold back; take a checkpoint")

// errEnded is returned by writes after the stream's end.
var errEnded = errors.New("checkpoint: stream is complete")

const (
	minHold    = 4 << 10 // a client of a Committed service must hold back as much
	smallFrame = 4 << 10 // up to here copying is cheaper than a vector
)

// Write sends p.
func (s *Session) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), maxFrame)
		if err := s.writeData(p[:n]); err != nil {
			return written, err
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

func (s *Session) writeData(p []byte) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if err := s.roomFor(len(p)); err != nil {
		return err
	}
	head := s.head(header{frameData, len(p)})
	if err := s.writeParts(head, p); err != nil {
		return err
	}
	s.out += uint64(len(p))
	return nil
}

// head returns a header in the session's scratch memory.
func (s *Session) head(h header) []byte {
	if cap(s.scratch) < headerSize {
		s.scratch = make([]byte, 0, 256)
	}
	b := s.scratch[:headerSize]
	h.put(b)
	return b
}

// writeParts writes a header and its payload in one system call.
func (s *Session) writeParts(head, p []byte) error {
	if len(p) <= smallFrame {
		s.scratch = append(head, p...)
		return s.write(s.scratch)
	}
	if err := s.arm(); err != nil {
		return err
	}
	s.vec = [2][]byte{head, p}
	vector := net.Buffers(s.vec[:])
	_, err := vector.WriteTo(s.conn)
	s.vec = [2][]byte{}
	return s.wrote(err)
}

// roomFor says whether n bytes of output may be written now.
func (s *Session) roomFor(n int) error {
	if s.werr != nil {
		return s.werr
	}
	if s.hold > 0 && s.out+uint64(n) > s.covered.Out+uint64(s.hold) {
		return fmt.Errorf("%w (%d bytes since the last, client holds %d)", ErrUncovered, s.out+uint64(n)-s.covered.Out, s.hold)
	}
	return nil
}

// write sends one whole frame.
func (s *Session) write(b []byte) error {
	if s.werr != nil {
		return s.werr
	}
	if err := s.arm(); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return s.wrote(err)
}

// arm renews the write deadline when half of it is over: not each time, that
// would cost more than the heartbeat.
func (s *Session) arm() error {
	now := time.Now()
	timeout := s.srv.opts.WriteTimeout
	if s.deadline.Sub(now) > timeout/2 || s.ctx.Err() != nil {
		return nil
	}
	s.deadline = now.Add(timeout)
	err := s.conn.SetWriteDeadline(s.deadline)
	if s.ctx.Err() != nil { // interrupt may have come in between: it has the last word
		err = s.conn.SetWriteDeadline(now.Add(s.srv.opts.Grace))
	}
	return s.broken(err)
}

func (s *Session) wrote(err error) error {
	if err != nil {
		return s.broken(err)
	}
	s.lastWrite.Store(time.Now().UnixNano())
	return nil
}

// broken remembers that the connection is lost: part of a frame may be out,
// nothing may follow it.
func (s *Session) broken(err error) error {
	if err == nil {
		return nil
	}
	s.werr = gone(err)
	s.cancel()
	return s.werr
}

// Skip leaves out the next n bytes of output, which the client has already: n
// is at most Ahead.
func (s *Session) Skip(n uint64) error {
	if ahead := s.Ahead(); n > ahead {
		return fmt.Errorf("checkpoint: skip of %d bytes, the client is ahead by %d", n, ahead)
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	var b [offsetSize]byte
	putOffset(b[:], s.out+n)
	if err := s.write(frame(frameOffset, b[:])); err != nil {
		return err
	}
	s.out += n
	return nil
}

// heartbeat runs in the timer's goroutine.
func (s *Session) heartbeat() {
	defer s.rearmBeat()
	if !s.wmu.TryLock() {
		return // a write is in progress: the client hears from us, or takes nothing
	}
	defer s.wmu.Unlock()
	quiet := time.Since(time.Unix(0, s.lastWrite.Load()))
	if quiet < s.beatEvery/2 || s.werr != nil {
		return
	}
	_ = s.write(s.head(header{frameHeartbeat, 0})) // a failure cancels the context
}

func (s *Session) rearmBeat() {
	if s.ctx.Err() == nil {
		s.beat.Reset(s.beatEvery)
	}
}

// copyBuffers are for ReadFrom where the kernel can not move the bytes itself.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// ReadFrom sends what r gives until io.EOF. From a regular file, or an
// io.LimitedReader on one, to a TCP connection the kernel moves the bytes;
// they are then one frame, so that a long file should be sent in parts, with
// Offer in between.
func (s *Session) ReadFrom(r io.Reader) (int64, error) {
	if n, ok := s.fileLength(r); ok {
		return s.sendFile(r, n)
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{r}, *buf)
}

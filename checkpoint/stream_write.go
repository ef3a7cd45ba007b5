// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"io"
	"os"
	"time"
)

// Write sends input to the service. It returns when the bytes are in the
// replay buffer and were given to the present connection; they reach the
// application at the server exactly once, in order, whatever servers die. When
// the buffer is full of bytes that no checkpoint covers, Write waits, and reads
// the connection meanwhile.
//
// After the service has completed the stream Write returns io.ErrClosedPipe.
func (s *Stream) Write(p []byte) (int, error) {
	written := 0
	for {
		n, at, err := s.queueInput(p[written:])
		written += n
		if err != nil {
			return written, err
		}
		if err := s.send(at); err != nil {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
		if n > 0 {
			continue
		}
		if err := s.waitForRoom(at); err != nil {
			return written, err
		}
	}
}

// CloseWrite tells the service that no more input follows. Reading goes on.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	_, at, err := s.queueInput(nil)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return s.send(at)
}

// queueInput puts what there is room for into the replay buffer.
func (s *Stream) queueInput(p []byte) (int, look, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := look{link: s.link, changed: s.changed, deadline: s.writeBy}
	switch {
	case s.err != nil:
		return 0, at, s.err
	case s.recv.ended, s.closing && len(p) > 0:
		return 0, at, io.ErrClosedPipe
	case !at.deadline.IsZero() && !time.Now().Before(at.deadline):
		return 0, at, os.ErrDeadlineExceeded
	}
	return s.replay.push(p), at, nil
}

// send writes what is queued to the link. Without one it is left to the replay
// after the resume.
func (s *Stream) send(at look) error {
	for at.link != nil {
		taken, err := await(s.pen, at.changed, at.deadline)
		if err != nil {
			return s.sendLater(at.link, err)
		}
		if taken {
			err = s.flush(at.link, true)
			<-s.pen
			return s.sendLater(at.link, s.after(at.link, err))
		}
		at = s.lookWrite()
	}
	return nil
}

func (s *Stream) lookWrite() look {
	s.mu.Lock()
	defer s.mu.Unlock()
	return look{link: s.link, changed: s.changed, deadline: s.writeBy}
}

// sendLater has the bytes sent for which a Write could not wait: it accepted
// them, and the next call may never come.
func (s *Stream) sendLater(l *link, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.link == l && s.err == nil {
		s.flights.Go(func() { s.resend(l) })
	}
	return err
}

// maxInputFrame: the copy that a frame is built in stays small.
const maxInputFrame = 16 << 10

// flush writes all queued input, then the end frame if one is due; until the
// application's write deadline, if that is to be kept. The caller holds the pen.
func (s *Stream) flush(l *link, keepDeadline bool) error {
	for {
		if err := s.writeOut(l, keepDeadline); err != nil {
			return err
		}
		if !s.nextFrame(l) {
			return nil
		}
	}
}

// writeOut writes the pending frame. A connection that takes nothing is dead
// only if nothing is heard on it either.
func (s *Stream) writeOut(l *link, keepDeadline bool) error {
	for {
		err := l.write(keepDeadline)
		if !errors.Is(err, errStuck) {
			return err
		}
		if err := s.listen(l); err != nil {
			return err
		}
	}
}

// listen waits for a sign of life on a link that takes no input. While another
// call reads, that one notices the silence; and output that waits to be read
// is as good a sign as can be had.
func (s *Stream) listen(l *link) error {
	select {
	case s.pump <- struct{}{}:
	default:
		return nil
	}
	defer s.unpump()
	_, err := s.step(l, nil)
	if errors.Is(err, errStashFull) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// nextFrame makes the next frame of input pending, and reports whether there
// is one.
func (s *Stream) nextFrame(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return false
	}
	n := int(min(s.replay.end()-l.sent, maxInputFrame))
	if n == 0 {
		return s.endFrame(l)
	}
	if cap(l.scratch) < headerSize+n {
		l.scratch = make([]byte, headerSize+n)
	}
	b := l.scratch[:headerSize+n]
	header{frameData, n}.put(b)
	s.replay.peek(b[headerSize:], l.sent)
	l.sent += uint64(n)
	l.pending = b
	return true
}

func (s *Stream) endFrame(l *link) bool {
	if !s.closing || l.endSent {
		return false
	}
	l.endSent = true
	l.pending = frame(frameEnd, nil)
	return true
}

// waitForRoom waits until a checkpoint freed room in the replay buffer, the
// stream changed, or the deadline is over. While nobody else reads the link, it
// does.
func (s *Stream) waitForRoom(at look) error {
	sem := s.pump
	if at.link == nil {
		sem = nil
	}
	taken, err := await(sem, at.changed, at.deadline)
	if !taken || err != nil {
		return err
	}
	err = s.pumpForWrite(at.link)
	if !errors.Is(err, errStashFull) {
		return err
	}
	_, err = await(nil, at.changed, at.deadline) // the application has to read first
	return err
}

func (s *Stream) pumpForWrite(l *link) error {
	defer s.unpump()
	if !s.current(l, nil) {
		return nil
	}
	_, err := s.step(l, nil)
	err = s.after(l, err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // the reader's deadline, not ours
	}
	return err
}

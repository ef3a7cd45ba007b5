// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"io"
	"os"
	"time"
)

// Read reads output of the service. It returns io.EOF only when the server
// said that the stream is complete; a *Refusal when no server will go on;
// while the stream is being resumed it waits.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if n, err := s.readOn(p); n > 0 || err != nil {
		if n > 0 {
			s.report()
		}
		return n, err
	}
	for {
		n, look, err := s.delivered(p)
		if n > 0 {
			s.report()
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if n, err = s.readLink(p, look); n > 0 {
			s.report()
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (s *Stream) report() {
	if s.opts.OnProgress != nil {
		s.mu.Lock()
		at := s.position()
		s.mu.Unlock()
		s.opts.OnProgress(at)
	}
}

// readOn is Read within a frame of fresh data that goes to the application
// directly: nearly all calls, when much is sent. What follows touches as little
// memory as it can, since each large read leaves the caches cold. It returns
// nothing when Read is to go its general way.
func (s *Stream) readOn(p []byte) (int, error) {
	select {
	case s.pump <- struct{}{}:
	default:
		return 0, nil
	}
	defer s.unpump()
	l, n := s.direct(len(p))
	if l == nil {
		return 0, nil
	}
	n, err := s.takeData(l, p[:n])
	return n, s.after(l, err)
}

// direct returns the link, and how much of its present frame may be read past
// the stash at once; nil if none. The caller holds the pump.
func (s *Stream) direct(most int) (*link, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.link
	if l == nil || !l.inFrame || l.head.kind != frameData {
		return nil, 0
	}
	if s.recv.hold || s.stash.size() > 0 || s.recv.wire < s.recv.have {
		return nil, 0
	}
	return l, min(most, l.left)
}

// look is what a waiting call saw: with it, it waits for a change.
type look struct {
	link     *link
	changed  <-chan struct{}
	deadline time.Time
}

// delivered takes output out of the stash, or says that the stream is over.
func (s *Stream) delivered(p []byte) (int, look, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := look{link: s.link, changed: s.changed, deadline: s.readBy}
	if until := s.recv.deliverable(); until > s.stash.base && s.stash.size() > 0 {
		n := s.stash.peek(p[:min(uint64(len(p)), until-s.stash.base)], s.stash.base)
		s.stash.drop(s.stash.base + uint64(n))
		s.wake() // there is room in the stash
		return n, at, nil
	}
	if s.recv.ended {
		return 0, at, io.EOF
	}
	return 0, at, s.err
}

// readLink reads one step from the link, or waits for a change.
func (s *Stream) readLink(p []byte, at look) (int, error) {
	sem := s.pump
	if at.link == nil {
		sem = nil // no connection: wait for one
	}
	taken, err := await(sem, at.changed, at.deadline)
	if !taken || err != nil {
		return 0, err
	}
	defer s.unpump()
	if !s.current(at.link, p) {
		return 0, nil
	}
	n, err := s.step(at.link, p)
	if errors.Is(err, errStashFull) { // all of it unread, and nothing deliverable: only a server's fault
		err = refuse(ReasonProtocol, "server sent more than %d bytes without a checkpoint", s.opts.HoldBuffer)
	}
	return n, s.after(at.link, err)
}

func (s *Stream) unpump() { <-s.pump }

// current reports whether a read may go to link: it is the stream's still, and
// nothing was stashed meanwhile that comes before.
func (s *Stream) current(link *link, p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil && s.recv.deliverable() > s.stash.base && s.stash.size() > 0 {
		return false
	}
	return s.link == link && !s.recv.ended
}

// after turns an error of the link into an outage, the stream's end, or the
// call's own error.
func (s *Stream) after(link *link, err error) error {
	if err == nil {
		return nil // before r is allocated
	}
	var r *Refusal
	switch {
	case errors.Is(err, errStashFull):
		return errStashFull
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.As(err, &r):
		s.fail(err)
	default:
		s.dropLink(link, err)
	}
	return nil // the caller looks again
}

// errStashFull: output waits that the application does not read.
var errStashFull = errors.New("checkpoint: output is not read")

// step reads a bounded piece of the link's present frame. With p, and unless
// output is held back, fresh data goes into p directly. The caller holds the
// pump.
func (s *Stream) step(l *link, p []byte) (int, error) {
	if !l.inFrame {
		return 0, s.stepHeader(l)
	}
	if l.head.kind == frameData {
		return s.stepData(l, p)
	}
	return 0, s.stepControl(l)
}

func (s *Stream) stepHeader(l *link) error {
	b, err := l.br.Peek(headerSize)
	if err != nil {
		return noEOF(err)
	}
	h := parseHeader(b)
	if err := checkFromServer(h, s.opts.MaxCheckpoint); err != nil {
		return err
	}
	if _, err := l.br.Discard(headerSize); err != nil {
		return err
	}
	l.head, l.left, l.payload, l.inFrame = h, h.length, nil, true
	if h.kind == frameData {
		l.long = h.length >= longFrame
	}
	if h.length == 0 {
		return s.frameDone(l)
	}
	return nil
}

// stepControl collects a control frame's payload, across deadlines.
func (s *Stream) stepControl(l *link) error {
	if l.payload == nil {
		l.payload = make([]byte, 0, l.left) // bounded by checkFromServer
	}
	n, err := l.br.Read(l.payload[len(l.payload) : len(l.payload)+l.left])
	l.payload = l.payload[:len(l.payload)+n]
	l.left -= n
	if err != nil {
		return noEOF(err)
	}
	if l.left == 0 {
		return s.frameDone(l)
	}
	return nil
}

// noEOF: without an end frame the end of the connection is not the stream's.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *Stream) stepData(l *link, p []byte) (int, error) {
	s.mu.Lock()
	skip, fresh := s.recv.split(l.left)
	stash := p == nil || s.recv.hold || s.stash.size() > 0
	room := s.stash.room()
	s.mu.Unlock()
	switch {
	case skip > 0:
		return 0, s.skipData(l, skip)
	case !stash:
		return s.takeData(l, p[:min(len(p), fresh)])
	case room == 0:
		return 0, errStashFull
	}
	return 0, s.stashData(l, min(fresh, room))
}

// skipData discards output that was there before.
func (s *Stream) skipData(l *link, n int) error {
	n, err := l.br.Discard(n)
	s.account(l, n, func() { s.recv.skipped(n) })
	return noEOF(err)
}

// takeData reads fresh output into the application's memory.
func (s *Stream) takeData(l *link, p []byte) (int, error) {
	n, err := l.br.Read(p)
	if !s.account(l, n, func() {
		s.recv.took(n)
		s.stash.base += uint64(n)
		s.progress = true
	}) {
		n = 0 // the link was given up meanwhile: these bytes will come again
	}
	return n, noEOF(err)
}

// stashData reads fresh output into the stash.
func (s *Stream) stashData(l *link, n int) error {
	if _, err := l.br.Peek(1); err != nil {
		return noEOF(err)
	}
	b, _ := l.br.Peek(min(n, l.br.Buffered())) // what is buffered: no error
	s.account(l, len(b), func() {
		s.stash.push(b)
		s.recv.took(len(b))
		s.progress = s.progress || !s.recv.hold
		s.wake()
	})
	_, err := l.br.Discard(len(b))
	return err
}

// account records n payload bytes of a data frame by calling record, if l is
// still the stream's link.
func (s *Stream) account(l *link, n int, record func()) bool {
	l.left -= n
	l.inFrame = l.left > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return false
	}
	record()
	return true
}

// frameDone acts on a complete control frame.
func (s *Stream) frameDone(l *link) error {
	l.inFrame = false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return nil
	}
	switch l.head.kind {
	case frameCheckpoint:
		return s.takeCheckpoint(l.payload)
	case frameOffset:
		return s.recv.offset(parseOffset(l.payload))
	case frameRefusal:
		r, err := parseRefusal(l.payload)
		if err != nil {
			return err
		}
		return r
	case frameEnd:
		s.takeEnd(l)
	}
	return nil
}

// takeCheckpoint is under mu.
func (s *Stream) takeCheckpoint(b []byte) error {
	if err := s.recv.checkpoint(b, s.replay.end()); err != nil {
		return err
	}
	s.stats.Checkpoints++
	s.stats.CheckpointBytes += int64(len(b))
	s.replay.drop(s.recv.tokenIn)
	s.progress = true
	s.wake()
	return nil
}

// takeEnd is under mu. All output is there: what was held back is complete.
func (s *Stream) takeEnd(l *link) {
	s.recv.ended, s.recv.hold = true, false
	s.link = nil
	s.wake()
	l.conn.Close()
}

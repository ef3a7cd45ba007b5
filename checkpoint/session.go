// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Session is one stream at the server, from a hello to the end of its
// connection. Its resumption elsewhere is another Session.
//
// One goroutine may read while another writes and takes checkpoints.
type Session struct {
	srv      *Server
	conn     net.Conn
	ctx      context.Context
	cancel   context.CancelFunc
	id       StreamID
	state    []byte // restored; nil at a beginning
	received uint64 // bytes of output that the client had at the hello

	// Input; used by the one goroutine that reads.
	raw     *bufio.Reader // the connection: small, for headers
	input   *bufio.Reader // the application's bytes; made at the first use
	left    int           // payload bytes to come of the current data frame
	inDone  bool          // the client's end frame was seen
	arrived atomic.Uint64 // input handed to input; others only load it

	// Output.
	wmu       sync.Mutex // serialises frames; guards what follows
	out       uint64     // offset after the last byte written, or skipped
	covered   Position   // by the newest checkpoint
	seq       uint64     // of the newest checkpoint
	taken     time.Time  // when
	cost      time.Duration
	size      int
	maxToken  int // what the client said in its hello
	replay    int
	hold      int // 0 unless Delivery is Committed
	werr      error
	scratch   []byte      // small frames, and headers
	vec       [2][]byte   // header and data, for writev
	deadline  time.Time   // write deadline in force
	beat      *time.Timer // heartbeat
	beatEvery time.Duration
	unhook    func() bool  // from the server's context
	lastWrite atomic.Int64 // Unix nanoseconds
}

// rawBuffer is enough for a hello with a small checkpoint; payloads larger
// than it are read past it.
const rawBuffer = 512

func newSession(srv *Server, conn net.Conn) *Session {
	return &Session{srv: srv, conn: conn, raw: bufio.NewReaderSize(conn, rawBuffer)}
}

// resumeFrom sets the session to what t and state say.
func (s *Session) resumeFrom(t token, state []byte, size int) {
	s.state = state
	s.arrived.Store(t.pos.In)
	s.out = t.pos.Out
	s.covered, s.seq = t.pos, t.seq
	s.size = size
}

// start accepts the stream and begins to send heartbeats.
func (s *Session) start(ctx context.Context, h hello) error {
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.replay, s.maxToken = max(h.replay, 1), h.maxToken
	if s.srv.opts.Delivery == Committed {
		s.hold = h.hold
	}
	s.beatEvery = s.srv.opts.heartbeatFor(h.silence)
	s.beat = time.AfterFunc(time.Hour, s.heartbeat) // set before it can run
	s.beat.Stop()
	answer := accept{hold: s.hold > 0, in: s.arrived.Load(), out: s.out, heartbeat: s.beatEvery}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.taken = time.Now()
	if err := s.write(frame(frameAccept, answer.encode())); err != nil {
		return err
	}
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return s.broken(err)
	}
	s.beat.Reset(s.beatEvery)
	s.unhook = context.AfterFunc(ctx, s.interrupt)
	if s.srv.opts.Once == nil {
		return nil
	}
	return s.seal(Position{In: s.arrived.Load(), Out: s.out}, s.state) // the claimed one is used up
}

// interrupt ends reads at once, and writes after the grace, when the server
// stops.
func (s *Session) interrupt() {
	s.conn.SetReadDeadline(longAgo)
	s.conn.SetWriteDeadline(time.Now().Add(s.srv.opts.Grace))
}

func (s *Session) stop() {
	s.beat.Stop()
	if s.unhook != nil {
		s.unhook()
	}
	s.cancel()
}

// ID returns the stream's id, the same at all servers that serve it.
func (s *Session) ID() StreamID { return s.id }

// RemoteAddr returns the client's address.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Restore returns the state of the checkpoint that the stream resumes from,
// and true; or nil and false when the application is to begin at the
// beginning. Input and output continue where the state was taken.
func (s *Session) Restore() (state []byte, resumed bool) { return s.state, s.state != nil }

// Ahead returns how many bytes of output, counted from here on, the client has
// already: they were sent after the checkpoint, and it will discard them. An
// application that can go forward cheaply may leave them out by Skip.
func (s *Session) Ahead() uint64 {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.received <= s.out {
		return 0
	}
	return s.received - s.out
}

// EffectID names what the application is about to do at this position of the
// stream: the same id whenever and wherever this position is reached again
// after a resume, and no other position's. Stored with a side effect, under a
// unique index in the same transaction, it makes the effect happen once.
func (s *Session) EffectID() [32]byte {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	b := make([]byte, 0, 64+len(s.srv.sealer.service))
	b = append(b, "onevip effect\x00"...)
	b = append(b, s.id[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Consumed())
	b = binary.BigEndian.AppendUint64(b, s.out)
	return sha256.Sum256(append(b, s.srv.sealer.service...))
}

// finish tells the client how the handler ended.
func (s *Session) finish(server context.Context, err error) error {
	s.beat.Stop()
	if err != nil && (server.Err() != nil || s.ctx.Err() != nil) {
		return err // it resumes
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.werr != nil {
		return s.werr
	}
	s.werr = errEnded
	if err == nil {
		return sendLast(s.conn, frame(frameEnd, nil))
	}
	if errors.Is(err, ErrClientGone) {
		return err
	}
	r := asRefusal(err)
	if sendErr := sendLast(s.conn, frame(frameRefusal, r.encode())); sendErr != nil {
		return sendErr
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrResumeTimeout is returned when no server made progress with the stream
// within Options.ResumeTimeout; it comes wrapped with the last cause.
var ErrResumeTimeout = errors.New("checkpoint: stream not resumed in time")

// Stream is the client's end of a stream: a net.Conn that outlives its
// servers. Read and Write may be called concurrently; so may all others.
//
// A Stream starts no goroutine while its connection holds: a lost server is
// noticed in Read, or in Write.
//
// Whoever reads needs the pump, whoever writes to the connection the pen; both
// are channels with one place, so that waiting for them can be given up. mu is
// for the fields below it and is never held while waiting.
type Stream struct {
	opts    Options
	ctx     context.Context
	cancel  context.CancelCauseFunc
	pump    chan struct{}
	pen     chan struct{}
	flights sync.WaitGroup // reconnecting, replaying
	tellMu  sync.Mutex     // orders OnEvent's calls

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when waiters should look again
	link     *link         // nil while there is none
	recv     receiver
	stash    queue // output that was received and is not delivered
	replay   queue // input that no checkpoint covers
	closing  bool  // CloseWrite was called
	readBy   time.Time
	writeBy  time.Time
	err      error     // why the stream is over; sticky
	lost     time.Time // start of the present outage; zero = none, or progress since
	progress bool      // since lost
	stats    Stats
}

var _ net.Conn = (*Stream)(nil)

// Dial opens a stream to the service at addr ("host:port"), which is ignored
// when Options.Connect is set. ctx is the stream's life: when it is done, all
// calls fail and the connection is closed. Dial returns when a server has
// accepted the stream, or a *Refusal, or an error that wraps
// ErrResumeTimeout or the context's cause.
func Dial(ctx context.Context, addr string, opts Options) (*Stream, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if opts.Connect == nil {
		opts.Connect = tcpConnector(addr)
	}
	s := newStream(ctx, opts)
	context.AfterFunc(s.ctx, s.abort)
	if err := s.connect(time.Now(), nil); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newStream(ctx context.Context, opts Options) *Stream {
	s := &Stream{
		opts:    opts,
		pump:    make(chan struct{}, 1),
		pen:     make(chan struct{}, 1),
		changed: make(chan struct{}),
		stash:   queue{limit: opts.HoldBuffer},
		replay:  queue{limit: opts.ReplayBuffer},
		recv:    receiver{stream: newStreamID(), maxToken: opts.MaxCheckpoint},
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

func tcpConnector(addr string) func(context.Context) (net.Conn, error) {
	var dialer net.Dialer
	return func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }
}

// ID returns the stream's id.
func (s *Stream) ID() StreamID { return s.recv.stream }

// Stats returns the stream's counters.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Position = s.position()
	st.Covered = Position{In: s.recv.tokenIn, Out: s.recv.committed}
	st.CheckpointSize, st.Repeated = len(s.recv.token), s.recv.repeated
	return st
}

// position is under mu.
func (s *Stream) position() Position { return Position{In: s.replay.end(), Out: s.recv.have} }

// wake lets all waiters look again. Under mu.
func (s *Stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// errClosed is what calls return after Close.
var errClosed = fmt.Errorf("checkpoint: %w", net.ErrClosed)

// finalGoodbye bounds how long Close tries to send what is left to send.
const finalGoodbye = 200 * time.Millisecond

// Close ends the stream. The server is told, if it can be told at once, that
// no more input follows; what it had not consumed by then may be lost, as with
// TCP. Close does not wait for other calls, which return net.ErrClosed.
func (s *Stream) Close() error {
	s.mu.Lock()
	ended, link := s.err != nil, s.link
	s.mu.Unlock()
	if !ended && link != nil {
		s.goodbye(link)
	}
	s.fail(errClosed)
	s.cancel(net.ErrClosed)
	s.flights.Wait()
	return nil
}

// goodbye sends the rest of the input and the end frame, if the pen is free.
func (s *Stream) goodbye(link *link) {
	select {
	case s.pen <- struct{}{}:
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		link.setWriteBy(time.Now().Add(finalGoodbye))
		_ = s.flush(link, true) // as far as it goes
		<-s.pen
	default:
	}
}

// abort runs when the context is done.
func (s *Stream) abort() {
	s.fail(fmt.Errorf("checkpoint: %w", context.Cause(s.ctx)))
}

// fail ends the stream with err, unless it is over already.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	link := s.link
	s.link = nil
	s.wake()
	s.mu.Unlock()
	if link != nil {
		link.conn.Close()
	}
	s.cancel(err)
	if !errors.Is(err, net.ErrClosed) {
		s.tell(Event{Kind: EventFailed, Err: err})
	}
}

// tell calls the application's hook.
func (s *Stream) tell(e Event) {
	if s.opts.OnEvent == nil {
		return
	}
	s.mu.Lock()
	e.Position = s.position()
	s.mu.Unlock()
	e.Time = time.Now()
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	s.opts.OnEvent(e)
}

// LocalAddr returns the present connection's local address, or an empty one.
func (s *Stream) LocalAddr() net.Addr { return s.addr(net.Conn.LocalAddr) }

// RemoteAddr returns the present connection's remote address, or an empty one.
func (s *Stream) RemoteAddr() net.Addr { return s.addr(net.Conn.RemoteAddr) }

func (s *Stream) addr(of func(net.Conn) net.Addr) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return &net.TCPAddr{}
	}
	return of(s.link.conn)
}

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline makes Read return os.ErrDeadlineExceeded after t, also while
// the stream is being resumed. The stream stays usable.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readBy = t
	if s.link != nil {
		s.link.setReadBy(t)
	}
	s.wake()
	return s.err
}

// SetWriteDeadline is SetReadDeadline for Write. Bytes that a Write reported
// as written will be sent, whatever the deadline.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeBy = t
	if s.link != nil {
		s.link.setWriteBy(t)
	}
	s.wake()
	return s.err
}

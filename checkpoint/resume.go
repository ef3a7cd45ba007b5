// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// dropLink begins an outage: l is of no use any more. Only the first call for
// a link does something.
func (s *Stream) dropLink(l *link, cause error) {
	s.mu.Lock()
	if s.link != l || s.err != nil || s.recv.ended {
		s.mu.Unlock()
		return
	}
	s.link = nil
	now := time.Now()
	if s.lost.IsZero() || s.progress {
		s.lost, s.progress = now, false // else the outage goes on: its time is not renewed
	}
	since := s.lost
	s.flights.Add(1)
	s.wake()
	s.mu.Unlock()
	l.conn.Close()
	s.tell(Event{Kind: EventLost, Err: cause})
	go func() {
		defer s.flights.Done()
		if err := s.connect(since, cause); err != nil {
			s.fail(err)
		}
	}()
}

// connect makes attempts until a server accepted the stream, or none will:
// refused, out of time since the given instant, or the context done.
func (s *Stream) connect(since time.Time, cause error) error {
	deadline := since.Add(s.opts.ResumeTimeout)
	ctx, cancel := context.WithDeadlineCause(s.ctx, deadline, ErrResumeTimeout)
	defer cancel()
	attempt := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempt++
		err := s.attempt(ctx, attempt, since)
		cause = lastCause(cause, err)
		return struct{}{}, permanentIfRefused(err, attempt)
	}, s.retryOptions(&attempt)...)
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrResumeTimeout) || (ctx.Err() != nil && s.ctx.Err() == nil) {
		return fmt.Errorf("%w (%s, %d attempts): %w", ErrResumeTimeout, s.opts.ResumeTimeout, attempt, cause)
	}
	return err
}

// lastCause prefers what the network said over our own giving up.
func lastCause(old, err error) error {
	if err == nil || (old != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrResumeTimeout))) {
		return old
	}
	return err
}

func permanentIfRefused(err error, attempt int) error {
	var r *Refusal
	if errors.As(err, &r) && !r.retryable(attempt) {
		return backoff.Permanent(err)
	}
	return err
}

func (s *Stream) retryOptions(attempt *int) []backoff.RetryOption {
	return []backoff.RetryOption{
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     s.opts.BackoffMin,
			MaxInterval:         s.opts.BackoffMax,
			Multiplier:          2,
			RandomizationFactor: 0.5,
		}),
		backoff.WithMaxElapsedTime(0), // the context bounds it
		backoff.WithNotify(func(err error, wait time.Duration) {
			s.tell(Event{Kind: EventRetry, Err: err, Attempt: *attempt, Wait: wait})
		}),
	}
}

// attempt connects once, says hello, and takes the link into use if accepted.
func (s *Stream) attempt(ctx context.Context, n int, since time.Time) error {
	conn, err := s.raceConnect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	answer, err := s.handshake(ctx, conn, patience(s.opts.AcceptTimeout, n))
	if err == nil {
		err = s.adopt(conn, answer, n, since)
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// maxPatience is by how much late attempts may exceed AcceptTimeout.
const maxPatience = 4

// patience is the time that attempt n gives a server to accept. It grows: where
// the servers are only slow, clients that give up soon make them slower.
func patience(accept time.Duration, n int) time.Duration {
	return accept * time.Duration(min(n, maxPatience))
}

// handshake sends the hello and reads the answer within timeout. Errors are a *Refusal, or of
// the connection.
func (s *Stream) handshake(ctx context.Context, conn net.Conn, timeout time.Duration) (accept, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return accept{}, fmt.Errorf("hello: %w", err)
	}
	if _, err := conn.Write(frame(frameHello, s.hello().encode())); err != nil {
		return accept{}, fmt.Errorf("hello: %w", err)
	}
	kind, payload, err := readFrame(conn, checkAccept)
	if err != nil {
		return accept{}, fmt.Errorf("wait for accept: %w", err)
	}
	if kind == frameAccept {
		return parseAccept(payload)
	}
	r, err := parseRefusal(payload)
	if err != nil {
		return accept{}, err
	}
	return accept{}, r
}

// hello is what this client asks for now.
func (s *Stream) hello() hello {
	s.mu.Lock()
	defer s.mu.Unlock()
	received := s.recv.have
	if s.recv.hold {
		received = s.recv.committed
	}
	return hello{
		stream:   s.recv.stream,
		received: received,
		maxToken: s.opts.MaxCheckpoint,
		replay:   s.opts.ReplayBuffer,
		hold:     s.opts.HoldBuffer,
		silence:  s.opts.Silence,
		service:  s.opts.Service,
		token:    s.recv.token,
	}
}

// adopt makes conn the stream's link.
func (s *Stream) adopt(conn net.Conn, answer accept, attempt int, since time.Time) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("after accept: %w", err)
	}
	l := newLink(conn, max(s.opts.Silence, 2*answer.heartbeat))
	outage := time.Since(since)
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	if err := s.recv.accept(answer); err != nil {
		s.mu.Unlock()
		return err
	}
	first := s.lost.IsZero()
	s.rewind(l, answer)
	if !first {
		s.stats.Resumes++
		s.stats.LongestOutage = max(s.stats.LongestOutage, outage)
	}
	s.wake()
	s.mu.Unlock()
	s.tellAdopted(conn, first, attempt, outage)
	return nil
}

// rewind sets queues and link to where the server goes on. Under mu.
func (s *Stream) rewind(l *link, answer accept) {
	if s.recv.hold {
		s.stash.truncate(s.recv.committed)
	}
	l.sent = answer.in
	l.readBy, l.writeBy = s.readBy, s.writeBy
	s.link = l
	if again := s.replay.end() - answer.in; again > 0 || s.closing {
		s.stats.Replayed += again
		s.flights.Go(func() { s.resend(l) })
	}
}

// tellAdopted reports a link that a server accepted.
func (s *Stream) tellAdopted(conn net.Conn, first bool, attempt int, outage time.Duration) {
	e := Event{Kind: EventResumed, Attempt: attempt, Outage: outage, Remote: conn.RemoteAddr().String()}
	if first {
		e.Kind, e.Outage = EventConnected, 0
	}
	s.tell(e)
}

// resend writes what is queued in the background: the reader may have to take
// output before the server takes more input, and what a Write accepted is sent
// whatever its deadline.
func (s *Stream) resend(l *link) {
	select {
	case s.pen <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	err := s.flush(l, false)
	<-s.pen
	_ = s.after(l, err)
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Handler is the application at the server: it serves one stream, from its
// beginning or from a checkpoint.
type Handler interface {
	// Serve runs the stream on s until it is complete. The stream ends at the
	// client as Serve ends here:
	//
	//   - nil: complete, the client reads io.EOF.
	//   - any error once ctx is done, or ErrClientGone: the connection is closed
	//     and the client resumes, here or at another server.
	//   - a *Refusal, or any other error (as ReasonApplication): the client
	//     gets it as an error and does not resume.
	//
	// ctx is done when the server stops or the client is gone.
	Serve(ctx context.Context, s *Session) error
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(ctx context.Context, s *Session) error

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, s *Session) error { return f(ctx, s) }

// ErrClientGone is returned by a Session's methods when its connection is
// lost. The client may be resuming the stream elsewhere.
var ErrClientGone = errors.New("checkpoint: connection to the client lost")

// Server runs a Handler for the streams of one service. Several servers of a
// service share its name and keys, nothing else.
type Server struct {
	handler Handler
	sealer  sealer
	opts    ServerOptions
	streams atomic.Int64
}

// NewServer makes a server. service is the name that checkpoints are bound to,
// at most 255 bytes.
func NewServer(service string, keys Keys, handler Handler, opts ServerOptions) (*Server, error) {
	if service == "" || len(service) > maxService {
		return nil, fmt.Errorf("checkpoint: service name has %d bytes, want 1 to %d", len(service), maxService)
	}
	if keys == nil || handler == nil {
		return nil, errors.New("checkpoint: a server needs keys and a handler")
	}
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Server{handler: handler, sealer: newSealer(service, keys, opts.Lifetime), opts: opts}, nil
}

// Serve accepts connections on ln until ctx is done, then closes ln, waits for
// the handlers, and returns nil. Streams that are not complete by then go on
// at another server.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			if temporary(ctx, err) {
				continue
			}
			return fmt.Errorf("checkpoint: accept: %w", err)
		}
		running.Go(func() { s.serveLogged(ctx, conn) })
	}
}

// acceptPause keeps a full file table from turning Accept into a busy loop.
const acceptPause = 20 * time.Millisecond

// temporary reports whether Accept may be called again, after a pause.
func temporary(ctx context.Context, err error) bool {
	var ne net.Error
	if errors.Is(err, net.ErrClosed) || !errors.As(err, &ne) {
		return false
	}
	select {
	case <-time.After(acceptPause):
	case <-ctx.Done():
	}
	return true
}

func (s *Server) serveLogged(ctx context.Context, conn net.Conn) {
	err := s.ServeConn(ctx, conn)
	if err == nil || errors.Is(err, ErrClientGone) || ctx.Err() != nil {
		return
	}
	var r *Refusal
	if errors.As(err, &r) {
		s.opts.Logger.Info("stream refused", "service", s.sealer.service,
			"client", conn.RemoteAddr().String(), "reason", r.Reason.String(), "detail", r.Detail)
		return
	}
	s.opts.Logger.Warn("stream failed", "service", s.sealer.service,
		"client", conn.RemoteAddr().String(), "err", err)
}

// ServeConn serves the stream on conn and closes conn. It returns how the
// stream ended here: nil, ErrClientGone, the context's error, or what the
// client was told.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	defer s.streams.Add(-1)
	full := s.streams.Add(1) > int64(s.opts.MaxStreams) && s.opts.MaxStreams > 0
	sess, err := s.greet(ctx, conn, full)
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) {
			_ = sendLast(conn, frame(frameRefusal, r.encode()))
		}
		return err
	}
	defer sess.stop()
	return sess.finish(ctx, s.run(sess))
}

// run calls the handler. A panic is the stream's error, not the process's
// end: its client would carry it on to the next server.
func (s *Server) run(sess *Session) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Error("handler panicked", "service", s.sealer.service,
				"stream", sess.id.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = refuse(ReasonApplication, "handler panicked")
		}
	}()
	return s.handler.Serve(sess.ctx, sess)
}

// greet reads the hello, verifies the checkpoint and accepts the stream.
func (s *Server) greet(ctx context.Context, conn net.Conn, full bool) (*Session, error) {
	if err := conn.SetDeadline(time.Now().Add(s.opts.HandshakeTimeout)); err != nil {
		return nil, gone(err)
	}
	h, sess, err := s.readHello(ctx, conn)
	if err != nil {
		return nil, err
	}
	if full {
		return nil, refuse(ReasonBusy, "%d streams here already", s.opts.MaxStreams)
	}
	if err := s.restore(ctx, h, sess); err != nil {
		return nil, err
	}
	if err := sess.start(ctx, h); err != nil {
		sess.stop()
		return nil, err
	}
	return sess, nil
}

func (s *Server) readHello(ctx context.Context, conn net.Conn) (hello, *Session, error) {
	sess := newSession(s, conn)
	// The handshake ends early when the server stops.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })
	defer stop()
	_, payload, err := readFrame(sess.raw, checkHello(tokenOverhead+s.opts.MaxState))
	if err != nil {
		return hello{}, nil, goneUnlessRefusal(err)
	}
	h, err := parseHello(payload)
	if err != nil {
		return hello{}, nil, err
	}
	if h.service != "" && h.service != s.sealer.service {
		return hello{}, nil, refuse(ReasonForeignService, "this is service %q", s.sealer.service)
	}
	if s.opts.Delivery == Committed && h.hold < minHold {
		return hello{}, nil, refuse(ReasonProtocol, "this service needs a client that can hold back %d bytes, not %d", minHold, h.hold)
	}
	return h, sess, nil
}

// restore sets sess to the hello's checkpoint, or leaves it at the beginning.
func (s *Server) restore(ctx context.Context, h hello, sess *Session) error {
	now := time.Now()
	sess.id, sess.received = h.stream, h.received
	until := now.Add(s.opts.Lifetime)
	if len(h.token) > 0 {
		t, state, err := s.sealer.open(h.token, h.stream, now)
		if err != nil {
			return err
		}
		if h.received < t.pos.Out {
			return refuse(ReasonProtocol, "client has %d bytes, its checkpoint covers %d", h.received, t.pos.Out)
		}
		sess.resumeFrom(t, state, len(h.token))
		until = t.expiry
	}
	if s.opts.Once == nil {
		return nil
	}
	err := s.opts.Once.Claim(ctx, h.stream, sess.seq, until)
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		s.opts.Logger.Error("claim failed", "service", s.sealer.service, "err", err)
		return refuse(ReasonBusy, "can not claim the checkpoint")
	}
	return err
}

// lingerTime bounds the wait for a client to take the last frame.
const lingerTime = 2 * time.Second

// sendLast writes the connection's last frame so that it arrives: closing with
// unread input would send a RST, which may overtake it.
func sendLast(conn net.Conn, last []byte) error {
	if err := conn.SetDeadline(time.Now().Add(lingerTime)); err != nil {
		return gone(err)
	}
	drained := make(chan struct{})
	go func() { // beside the write: the client may be writing too
		defer close(drained)
		_, _ = io.Copy(io.Discard, conn) // until the client closes, or lingerTime
	}()
	_, err := conn.Write(last)
	if err != nil {
		conn.Close()
		<-drained
		return gone(err)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails if the client closed first
	}
	<-drained
	return nil
}

func gone(err error) error { return fmt.Errorf("%w: %w", ErrClientGone, err) }

// goneUnlessRefusal marks errors of the connection; refusals pass.
func goneUnlessRefusal(err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return err
	}
	return gone(err)
}

// longAgo as a deadline interrupts what is in progress.
var longAgo = time.Unix(1, 0)

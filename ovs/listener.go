// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// maxConns bounds the connections of a listener, those in their handshake too.
const maxConns = 128

// ListenOptions are the times of OpenFlow sessions. The zero value takes the
// defaults.
type ListenOptions struct {
	// Echo is the period of echo requests: 2s.
	Echo time.Duration
	// Dead is the silence after which a switch is given up, and the time it has
	// for its handshake: 3 * Echo.
	Dead time.Duration
	// Log gets connections that were refused, once for each reason and host.
	// Nil: nobody.
	Log *slog.Logger
}

func (o ListenOptions) withDefaults() ListenOptions {
	if o.Echo <= 0 {
		o.Echo = 2 * time.Second
	}
	if o.Dead <= 0 {
		o.Dead = 3 * o.Echo
	}
	return o
}

// Listener accepts the OpenFlow connections of switches.
type Listener struct {
	listener net.Listener
	opts     ListenOptions
	ctx      context.Context
	cancel   context.CancelFunc
	sessions chan *Session
	slots    chan struct{} // one value for each connection
	work     sync.WaitGroup

	mu       sync.Mutex
	refusals map[string]string // last reason by host, at most maxConns
}

// Listen waits for switches at a TCP address such as ":6653", until ctx ends or
// Close. The connections are neither encrypted nor authenticated: the address
// belongs to the management network.
func Listen(ctx context.Context, addr string, opts ListenOptions) (*Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for switches: %w", err)
	}
	l := &Listener{
		listener: listener,
		opts:     opts.withDefaults(),
		sessions: make(chan *Session),
		slots:    make(chan struct{}, maxConns),
		refusals: make(map[string]string),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	context.AfterFunc(l.ctx, func() { _ = listener.Close() }) // acceptLoop sees it
	l.work.Add(1)
	go l.acceptLoop()
	return l, nil
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

// Close stops listening, ends all sessions and waits for their loops.
func (l *Listener) Close() error {
	l.cancel()
	l.work.Wait()
	return nil
}

// Accept gives the next switch that has finished its handshake, or an error
// when ctx or the listener ends. A switch that connects again gives a new
// Session; the old one may take ListenOptions.Dead to notice.
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-l.sessions:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *Listener) acceptLoop() {
	defer l.work.Done()
	for {
		conn, err := l.listener.Accept()
		switch {
		case l.ctx.Err() != nil:
			return
		case err != nil:
			l.refused(nil, err)
			l.pause()
			continue
		}
		l.admit(conn)
	}
}

// pause after a failed accept (out of file descriptors): trying at once would
// fail the same way.
func (l *Listener) pause() {
	select {
	case <-l.ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// admit gives the connection a goroutine for its life, if there is room.
func (l *Listener) admit(conn net.Conn) {
	select {
	case l.slots <- struct{}{}:
	default:
		l.refused(conn, errors.Join(fmt.Errorf("more than %d connections", maxConns), conn.Close()))
		return
	}
	l.work.Add(1)
	go func() {
		defer l.work.Done()
		defer func() { <-l.slots }()
		l.serve(conn)
	}()
}

// serve keeps one connection until its session ends.
func (l *Listener) serve(conn net.Conn) {
	s, err := handshake(l.ctx, conn, l.opts)
	if err != nil {
		l.refused(conn, err)
		return
	}
	l.welcome(conn)
	select {
	case l.sessions <- s:
	case <-s.Done():
	case <-l.ctx.Done():
	}
	select {
	case <-s.Done():
	case <-l.ctx.Done():
		_ = s.Close()
	}
	s.loops.Wait()
}

// refused logs why a switch can't come in. It tries again each second, so the
// same reason is told once.
func (l *Listener) refused(conn net.Conn, reason error) {
	if l.opts.Log == nil || l.ctx.Err() != nil {
		return
	}
	host, text := hostOf(conn), reasonText(reason)
	l.mu.Lock()
	known := l.refusals[host] == text
	if len(l.refusals) < maxConns || l.refusals[host] != "" {
		l.refusals[host] = text
	}
	l.mu.Unlock()
	if !known {
		l.opts.Log.Warn("switch refused", "switch", host, "reason", text)
	}
}

// reasonText leaves out the addresses of a network error: the port differs each
// time.
func reasonText(reason error) string {
	var network *net.OpError
	if errors.As(reason, &network) {
		return network.Op + ": " + network.Err.Error()
	}
	return reason.Error()
}

func (l *Listener) welcome(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.refusals, hostOf(conn))
}

func hostOf(conn net.Conn) string {
	if conn == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// Service is the name that checkpoints of media streams are bound to.
const Service = "onevip-stream"

// ServerOptions of a Server.
type ServerOptions struct {
	// Keys that all servers of the service share.
	Keys checkpoint.Keys
	// Checkpoint options. Delivery is ignored: media is Immediate.
	Checkpoint checkpoint.ServerOptions
	// Pace says how fast a response may go. The zero value: as fast as it can.
	Pace Pace
	// Live sources by name: "cam" is served as /cam, and hides a file.
	Live map[string]*Live
	// Logger for the two protocols. Default: nobody.
	Logger *slog.Logger
}

// Server serves the files under a directory and live sources.
type Server struct {
	root    *os.Root
	opts    ServerOptions
	rates   rateCache
	inner   *checkpoint.Server
	streams sync.WaitGroup
	stop    context.Context // of the upgraded streams
}

// NewServer serves the files under dir, never others: symbolic links that lead
// out of it are not followed. Close releases it.
func NewServer(dir string, opts ServerOptions) (*Server, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{root: root, opts: opts}
	opts.Checkpoint.Delivery = checkpoint.Immediate
	opts.Checkpoint.Logger = opts.Logger
	s.inner, err = checkpoint.NewServer(Service, opts.Keys, checkpoint.HandlerFunc(s.converse), opts.Checkpoint)
	if err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}

// Close releases the directory.
func (s *Server) Close() error { return s.root.Close() }

// Serve serves both protocols on ln until ctx is done, then lets plain
// responses and checkpointed streams go, and returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.stop = ctx
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	hook := context.AfterFunc(ctx, func() { srv.Close() })
	defer hook()
	err := srv.Serve(ln)
	s.streams.Wait()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("stream: %w", err)
}

// ServeHTTP implements http.Handler: plain HTTP, or the upgrade.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if wantsUpgrade(r) {
		s.upgrade(w)
		return
	}
	s.servePlain(w, r)
}

// upgrade moves the connection to the checkpoint protocol, in a goroutine of
// its own: this one holds memory of the HTTP server.
func (s *Server) upgrade(w http.ResponseWriter) {
	conn, err := takeOver(w)
	if err != nil {
		s.opts.Logger.Debug("upgrade failed", "err", err)
		return
	}
	ctx := s.stop
	if ctx == nil {
		ctx = context.Background() // used as a handler of somebody else's server
	}
	s.streams.Go(func() {
		err := s.inner.ServeConn(ctx, conn)
		if err != nil && ctx.Err() == nil && !errors.Is(err, checkpoint.ErrClientGone) {
			s.opts.Logger.Info("stream refused", "client", conn.RemoteAddr().String(), "err", err)
		}
	})
}

// fileName turns a request's path into a name under the root.
func fileName(asked string) string {
	name := strings.Trim(path.Clean("/"+asked), "/")
	if name == "" {
		return "."
	}
	return name
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/stream"
)

// streamServeFlags are the flags of stream serve.
type streamServeFlags struct {
	listen  string
	keyFile string
	pace    string
	burst   time.Duration
	live    []string
	ring    string
	backlog string
	every   time.Duration
	cert    string
	key     string
}

func streamServeCommand(e *env) *cobra.Command {
	var f streamServeFlags
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve the files of DIR, and live sources, by plain HTTP and by checkpointed streams",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStreamServe(cmd.Context(), e, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", ":8080", "address of both protocols")
	flags.StringVar(&f.keyFile, "key-file", "", "keys shared by all servers of the service (onevip stream keygen)")
	flags.StringVar(&f.pace, "rate", "off", "auto: the bitrate of each file; or bits per second (800k, 4M); or off")
	flags.DurationVar(&f.burst, "burst", 5*time.Second, "playing time that is sent at once before the rate holds")
	flags.StringArrayVar(&f.live, "live", nil, "live source NAME=-, NAME=FIFO or NAME=URL of another stream server's; may repeat")
	flags.StringVar(&f.ring, "live-buffer", "32MiB", "newest bytes of a live source that are kept: an outage must fit in")
	flags.StringVar(&f.backlog, "live-backlog", "512KiB", "bytes of a live source that a new client gets at once")
	flags.DurationVar(&f.every, "checkpoint-every", 0, "take checkpoints at this interval; 0 = adaptive")
	flags.StringVar(&f.cert, "tls-cert", "", "PEM certificate: serve TLS")
	flags.StringVar(&f.key, "tls-key", "", "its PEM key")
	return cmd
}

func runStreamServe(ctx context.Context, e *env, dir string, f streamServeFlags) error {
	opts, err := f.options(e)
	if err != nil {
		return err
	}
	ln, err := f.listener(ctx)
	if err != nil {
		return err
	}
	defer ln.Close()
	group, ctx := errgroup.WithContext(ctx)
	if opts.Live, err = f.sources(ctx, e, group); err != nil {
		return err
	}
	srv, err := stream.NewServer(dir, opts)
	if err != nil {
		return err
	}
	defer srv.Close()
	e.log.Info("serving", "dir", dir, "listen", ln.Addr().String())
	group.Go(func() error { return srv.Serve(ctx, ln) })
	return group.Wait()
}

func (f streamServeFlags) options(e *env) (stream.ServerOptions, error) {
	opts := stream.ServerOptions{Logger: e.log}
	pace, err := stream.ParsePace(f.pace)
	if err != nil {
		return opts, usageErrorf("--rate: %w", err)
	}
	backlog, err := humanize.ParseBytes(f.backlog)
	if err != nil || backlog > maxLiveBuffer {
		return opts, usageErrorf("--live-backlog %q: write a size such as 512KiB", f.backlog)
	}
	pace.Burst, pace.Backlog = f.burst, int(backlog)
	opts.Pace = pace
	if f.every > 0 {
		opts.Checkpoint.Policy = checkpoint.Every(f.every)
	}
	if f.keyFile == "" {
		e.log.Warn("no --key-file: no other server can resume this one's streams")
		opts.Keys = checkpoint.NewKeyRing(checkpoint.GenerateKey())
		return opts, nil
	}
	opts.Keys, err = checkpoint.OpenKeyFile(f.keyFile)
	return opts, err
}

// listener listens without MPTCP: the kernel's way of adopting connections
// refuses such sockets.
func (f streamServeFlags) listener(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, fmt.Errorf("stream serve: %w", err)
	}
	if f.cert == "" && f.key == "" {
		return ln, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		ln.Close()
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

const maxLiveBuffer = 4 << 30

// sources starts the live sources in group.
func (f streamServeFlags) sources(ctx context.Context, e *env, group *errgroup.Group) (map[string]*stream.Live, error) {
	size, err := humanize.ParseBytes(f.ring)
	if err != nil || size == 0 || size > maxLiveBuffer {
		return nil, usageErrorf("--live-buffer %q: write a size up to 4GiB such as 32MiB", f.ring)
	}
	sources := make(map[string]*stream.Live)
	for _, spec := range f.live {
		name, from, ok := strings.Cut(spec, "=")
		if !ok || name == "" || from == "" || strings.Contains(name, "/") {
			return nil, usageErrorf("--live %q: write NAME=-, NAME=FIFO or NAME=http://HOST:PORT/NAME", spec)
		}
		live := stream.NewLive(int(size))
		sources[name] = live
		group.Go(func() error { return feedLive(ctx, e, live, name, from) })
	}
	return sources, nil
}

// feedLive fills one source. A source that ends, or fails, does not end the
// server: files and other sources go on.
func feedLive(ctx context.Context, e *env, live *stream.Live, name, from string) error {
	var err error
	switch {
	case from == "-":
		err = live.Feed(e.stdin)
	case strings.HasPrefix(from, "http://"), strings.HasPrefix(from, "https://"):
		err = live.Follow(ctx, from, func(err error) { e.log.Warn("live source lost", "name", name, "err", err) })
	default:
		err = live.FeedFIFO(ctx, from)
	}
	if ctx.Err() == nil {
		e.log.Info("live source ended", "name", name, "err", err)
	}
	return nil
}

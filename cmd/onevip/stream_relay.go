// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/checkpoint/stream"
)

func streamRelayCommand(e *env) *cobra.Command {
	var f streamFlags
	var listen string
	cmd := &cobra.Command{
		Use:   "relay URL",
		Short: "Stand between an unmodified player and a stream server that may crash",
		Long: `Listen on this machine for a player (ffplay, VLC, curl, a browser) and get what it
asks for from URL over a checkpointed stream. The player sees one connection to
a server that does not die. The path / is URL itself; other paths are relative
to it.`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := streamURL(args[0])
			if err != nil {
				return err
			}
			return runStreamRelay(cmd.Context(), e, listen, u, f)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8000", "where the player connects")
	return cmd
}

func runStreamRelay(ctx context.Context, e *env, listen string, u *url.URL, f streamFlags) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("stream relay: %w", err)
	}
	relay := stream.NewRelay(u, stream.RelayOptions{
		Transport: stream.TransportOptions{Checkpoint: f.options()},
		Logger:    e.log,
	})
	defer relay.Close()
	srv := &http.Server{
		Handler:           relay,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	e.log.Info("relaying", "listen", "http://"+ln.Addr().String(), "to", u.Redacted())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stream relay: %w", err)
	}
	return nil
}

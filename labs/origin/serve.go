// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Listen listens at an address, without MPTCP: the kernel's way of adopting
// connections refuses such sockets.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", address)
}

// patience is how long a connection may say nothing: a lab may look at ten
// thousand of them.
const patience = 10 * time.Minute

// Serve serves until ctx ends; connections end with it.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience, IdleTimeout: patience}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing is left to lose
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

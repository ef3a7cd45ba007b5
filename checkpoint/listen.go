// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"fmt"
	"net"
)

// ListenAndServe is the short way to a server: the keys of keyFile, a TCP
// listener on addr, and Server.Serve until ctx is done. The listener does
// without MPTCP, which the kernel's adoption of connections can not do with.
func ListenAndServe(ctx context.Context, addr, service, keyFile string, handler Handler, opts ServerOptions) error {
	keys, err := OpenKeyFile(keyFile)
	if err != nil {
		return err
	}
	srv, err := NewServer(service, keys, handler, opts)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return srv.Serve(ctx, ln)
}

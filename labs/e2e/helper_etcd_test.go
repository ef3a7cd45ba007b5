// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/onevip/onevip/state"
)

// helpEtcd is an etcd apart from the controller, so that one may die without
// the other. It ends with SIGTERM.
func helpEtcd(ctx context.Context, a helperArgs) (any, error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	etcd, err := state.StartEmbedded(ctx, state.EmbeddedConfig{
		Cluster: "quickstart", Listen: a.listen, DataDir: a.data, Insecure: true,
	})
	if err != nil {
		return nil, err
	}
	<-ctx.Done()
	return "stopped", etcd.Close()
}

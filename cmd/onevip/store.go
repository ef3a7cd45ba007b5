// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// readTimeout bounds what a command that only shows something waits for etcd.
const readTimeout = 5 * time.Second

// endpoints says where etcd is: where the configuration says, or the member
// that a controller on this machine embeds.
func endpoints(c topology.Cluster) []string {
	if len(c.Etcd.Endpoints) > 0 {
		return c.Etcd.Endpoints
	}
	return []string{c.Etcd.Listen}
}

func dialStore(ctx context.Context, e *env, c topology.Cluster) (*state.Etcd, error) {
	return state.Dial(ctx, state.DialConfig{
		Endpoints: endpoints(c),
		CA:        c.Etcd.CA, Cert: c.Etcd.Cert, Key: c.Etcd.Key,
		Cluster: c.Name,
		Log:     e.log,
	})
}

// readState dials, reads, and hangs up. Out of reach has an exit code of its own.
func readState(ctx context.Context, e *env, c topology.Cluster, read func(context.Context, state.Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	store, err := dialStore(ctx, e, c)
	if err != nil {
		return err
	}
	err = errors.Join(read(ctx, store), store.Close())
	if errors.Is(err, state.ErrOutOfReach) || errors.Is(err, context.DeadlineExceeded) {
		return codedError{exitUnreachable, err}
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/controller"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func controllerCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller: membership, slot table, keys and the switch",
		Long: `Run the controller: it gives nodes their ids, computes the slot table, makes
and rotates the keys, and programs the switches. Of several controllers one
leads. With no etcd.endpoints it runs an etcd of its own in this process.`,
		Args: noArgs,
	}
	set := allSettings(cmd.Flags())
	set.own("name", hostname(), "this controller's name in the election")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cluster, err := set.load()
		if err != nil {
			return err
		}
		return runController(cmd.Context(), e, cluster, set.get("name"))
	}
	return cmd
}

func runController(ctx context.Context, e *env, cluster topology.Cluster, name string) error {
	if len(cluster.Etcd.Endpoints) > 0 {
		return runControllerOn(ctx, e, cluster, name)
	}
	etcd, err := state.StartEmbedded(ctx, state.EmbeddedConfig{
		Cluster: cluster.Name,
		Listen:  cluster.Etcd.Listen,
		DataDir: cluster.Etcd.DataDir,
		CA:      cluster.Etcd.CA, Cert: cluster.Etcd.Cert, Key: cluster.Etcd.Key,
		Insecure: cluster.Etcd.Insecure,
		Log:      e.log,
	})
	if err != nil {
		return err
	}
	e.log.Info("embedded etcd serves", "endpoint", etcd.Endpoint(), "data_dir", cluster.Etcd.DataDir)
	cluster.Etcd.Endpoints = []string{etcd.Endpoint()}

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		if err := <-etcd.Done(); err != nil {
			fail(fmt.Errorf("embedded etcd stopped: %w", err))
		}
	}()
	err = runControllerOn(ctx, e, cluster, name)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return errors.Join(err, etcd.Close())
}

func runControllerOn(ctx context.Context, e *env, cluster topology.Cluster, name string) error {
	store, err := dialStore(ctx, e, cluster)
	if err != nil {
		return err
	}
	registry := newRegistry()
	err = runDaemon(ctx, cluster.Controller.Metrics, registry, func(ctx context.Context) error {
		return controller.Run(ctx, controller.Config{
			Cluster: cluster, Name: name, Store: store, Log: e.log, Metrics: registry,
		})
	})
	return errors.Join(err, store.Close())
}

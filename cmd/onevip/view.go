// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// viewer is a command that reads the cluster's state and shows a part of it.
type viewer struct {
	env *env
	set *settings
	lab labFlag
	out outputFlag
}

// reader takes what a viewer shows out of the state.
type reader func(ctx context.Context, store state.Store, cluster topology.Cluster) (report, error)

// healthReport is a report that knows whether what it shows is well.
type healthReport interface{ well() bool }

// viewCommand gives cmd the flags and the way that all viewers share.
func viewCommand(e *env, cmd *cobra.Command, read reader) *cobra.Command {
	v := newViewer(e, cmd)
	cmd.RunE = v.inCluster(func(ctx context.Context, cluster topology.Cluster) error { return v.show(ctx, cluster, read) })
	return cmd
}

func newViewer(e *env, cmd *cobra.Command) *viewer {
	v := &viewer{env: e, set: memberSettings(cmd.Flags())}
	v.lab.register(cmd.Flags())
	v.out.register(cmd.Flags())
	cmd.Args = noArgs
	return v
}

// inCluster runs do where the cluster's etcd is in reach: here, or once more in
// the lab that is meant.
func (v *viewer) inCluster(do func(context.Context, topology.Cluster) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if lab := v.lab.choose(v.env, v.set); lab != "" {
			return runInLab(cmd.Context(), v.env, lab, sameCommand(cmd, args))
		}
		cluster, err := v.set.loadMember()
		if err != nil {
			return err
		}
		return do(cmd.Context(), cluster)
	}
}

// show reads once and writes what came of it.
func (v *viewer) show(ctx context.Context, cluster topology.Cluster, read reader) error {
	var shown report
	err := readState(ctx, v.env, cluster, func(ctx context.Context, store state.Store) (err error) {
		shown, err = read(ctx, store, cluster)
		return err
	})
	if err != nil {
		return err
	}
	if err := v.out.write(v.env.stdout, shown); err != nil {
		return err
	}
	if health, ok := shown.(healthReport); ok && !health.well() {
		return errUnhealthy
	}
	return nil
}

func statusCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show the cluster on one screen; exit code 3 if it is not healthy"}
	return viewCommand(e, cmd, func(ctx context.Context, store state.Store, cluster topology.Cluster) (report, error) {
		view, err := store.View(ctx)
		return reportStatus(view, cluster.Name, endpoints(cluster)), err
	})
}

func nodesCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "nodes", Short: "List the nodes; exit code 3 if one is not well"}
	return viewCommand(e, cmd, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
		view, err := store.View(ctx)
		return nodesReport{reportNodes(view)}, err
	})
}

func servicesCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "services", Short: "List the services and their nodes, as ipvsadm does; exit code 3 if one has no node"}
	return viewCommand(e, cmd, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
		view, err := store.View(ctx)
		return servicesReport{reportServices(view)}, err
	})
}

func connsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conns",
		Short: "List the established connections that are old enough to be stored (conns.min_age)",
	}
	flags := cmd.Flags()
	node := flags.String("node", "", "only connections of this node")
	service := flags.String("service", "", "only connections of this service")
	client := flags.String("client", "", "only this client: address, prefix, or address:port")
	limit := flags.Int("limit", 100, "at most so many, the oldest; 0: all")
	return viewCommand(e, cmd, func(ctx context.Context, store state.Store, _ topology.Cluster) (report, error) {
		from, err := parseClientFilter(*client)
		if err != nil {
			return nil, err
		}
		if *limit < 0 {
			return nil, usageErrorf("--limit %d: write 0 for all, or a positive number", *limit)
		}
		conns, err := store.Conns(ctx, topology.NodeName(*node), 0)
		filter := connFilter{service: topology.ServiceName(*service), client: from}
		return reportConns(conns, filter, *limit, e.now()), err
	})
}

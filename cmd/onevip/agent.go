// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"

	"github.com/onevip/onevip/nodeagent"
	"github.com/onevip/onevip/topology"
)

const bpffs = "/sys/fs/bpf/onevip"

func agentCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this server node",
		Long: `Run the agent: it attaches the eBPF programs, sets the VIPs and sysctls, checks
the node's own servers and tells the cluster. When it stops, the programs stay
attached and connections go on; --cleanup takes everything out again.`,
		Args: noArgs,
	}
	set := memberSettings(cmd.Flags())
	set.own("node", hostname(), "this node's name in the cluster")
	set.own("interface", "", "interface towards the switch (default: the one with the default route)")
	set.own("pin-dir", "", "where programs and maps are pinned (default "+bpffs+"/CLUSTER-NODE)")
	set.own("run-dir", nodeagent.DefaultRunDir, "where the agent remembers what it changed on this machine")
	set.own("metrics", "127.0.0.1:9653", "host:port of /metrics; empty: none")
	cleanup := cmd.Flags().Bool("cleanup", false, "remove programs, maps, VIPs and sysctls of this node and exit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cluster, err := set.loadMember()
		if err != nil {
			return err
		}
		config, err := agentConfig(set, cluster)
		if err != nil {
			return err
		}
		config.Log = e.log
		if *cleanup {
			return nodeagent.Cleanup(cmd.Context(), config)
		}
		return runAgent(cmd.Context(), e, cluster, config, set.get("metrics"))
	}
	return cmd
}

// agentConfig fills in what nobody said.
func agentConfig(set *settings, cluster topology.Cluster) (nodeagent.Config, error) {
	config := nodeagent.Config{
		Cluster:   cluster.Name,
		Node:      topology.NodeName(set.get("node")),
		Interface: set.get("interface"),
		PinDir:    set.get("pin-dir"),
		RunDir:    set.get("run-dir"),
		Version:   version,
	}
	if config.Node == "" {
		return config, usageErrorf("which node is this? Write --node NAME")
	}
	if config.PinDir == "" {
		config.PinDir = filepath.Join(bpffs, fmt.Sprintf("%s-%s", cluster.Name, config.Node))
	}
	if config.Interface != "" {
		return config, nil
	}
	name, err := defaultInterface()
	config.Interface = name
	return config, err
}

func runAgent(ctx context.Context, e *env, cluster topology.Cluster, config nodeagent.Config, metrics string) error {
	store, err := dialStore(ctx, e, cluster)
	if err != nil {
		return err
	}
	registry := newRegistry()
	config.Store, config.Metrics = store, registry
	err = runDaemon(ctx, metrics, registry, func(ctx context.Context) error {
		return nodeagent.Run(ctx, config)
	})
	return errors.Join(err, store.Close())
}

// defaultInterface names the interface of the default routes, if they agree.
func defaultInterface() (string, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("list routes: %w", err)
	}
	index := 0
	for _, route := range routes {
		if !isDefaultRoute(route) || route.LinkIndex == 0 || route.LinkIndex == index {
			continue
		}
		if index != 0 {
			return "", usageErrorf("default routes leave by more than one interface: write --interface NAME")
		}
		index = route.LinkIndex
	}
	if index == 0 {
		return "", usageErrorf("no default route tells the interface: write --interface NAME")
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("find the interface of the default route: %w", err)
	}
	return link.Attrs().Name, nil
}

func isDefaultRoute(route netlink.Route) bool {
	if route.Dst == nil {
		return true
	}
	ones, _ := route.Dst.Mask.Size()
	return ones == 0 && route.Dst.IP.IsUnspecified()
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// DefaultRunDir is where agents remember what they changed on the machine.
const DefaultRunDir = "/run/onevip"

// Config is what an agent must be told; the rest it learns from the store.
type Config struct {
	Cluster string            // name of the cluster
	Node    topology.NodeName // which of its nodes this is
	// Interface faces the switch, in the network namespace of the process.
	Interface string
	// PinDir holds the pinned programs and maps: a folder of this node alone, on
	// a BPF file system.
	PinDir string
	// RunDir holds the journal of changes and the lock, in a folder for each
	// cluster and node. Empty: DefaultRunDir.
	RunDir  string
	Store   state.Store
	Log     *slog.Logger          // nil: slog.Default()
	Metrics prometheus.Registerer // nil: none
	Version string                // of the agent, for its record
}

// check refuses what can not work, and fills in defaults.
func (c *Config) check() error {
	switch {
	case c.Cluster == "":
		return errors.New("no cluster: set the cluster's name")
	case c.Node == "":
		return fmt.Errorf("no node: set the name that cluster %q has for this machine", c.Cluster)
	case c.Interface == "":
		return errors.New("no interface: set the one that faces the switch, such as eth0")
	case c.PinDir == "":
		return errors.New("no pin folder: set one on a BPF file system, such as /sys/fs/bpf/onevip/<cluster>/<node>")
	}
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

// runDir is the folder of this cluster's node.
func (c *Config) runDir() string { return filepath.Join(c.RunDir, c.Cluster, string(c.Node)) }

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/topology"
)

// errFenceHeld is of a fence that could not be installed. It does not count, and
// is tried again and again.
var errFenceHeld = errors.New("a flow of somebody else holds the place of a fence's, so that nobody may act for the failed node: remove it (ovs-ofctl dump-flows shows it without a cookie of onevip's)")

// config is the switch as configured.
func (s *station) config() topology.Switch {
	switches := s.desk.cluster.Switches
	i := slices.IndexFunc(switches, func(sw topology.Switch) bool { return sw.Name == s.name })
	if i < 0 {
		return topology.Switch{}
	}
	return switches[i]
}

// fence waits until what was applied is in force for packets, too, and says so:
// others may then act in the place of the nodes that are fenced.
func (s *station) fence(ctx context.Context, o order) error {
	if len(o.fences) == 0 {
		return nil
	}
	sw := s.config()
	err := s.session.Settle(ctx, sw.OVSDB, sw.Settle)
	if errors.Is(err, ovs.ErrNotMaster) {
		s.setClaimed(0)
	}
	if err != nil {
		return fmt.Errorf("wait for a fence: %w", err)
	}
	s.log.Debug("fences are in force", "failures", o.fences)
	s.desk.fence(o.generation, o.fences)
	return nil
}

// downPorts are the ports without carrier, and those that vanished while the
// switch was connected. A port that was never seen is not down: it may come. For
// those who hold desk.mu.
func (s *station) downPorts() map[string]bool {
	down := map[string]bool{}
	for name := range s.seen {
		down[name] = true
	}
	for _, port := range s.session.Ports() {
		down[port.Name] = !port.Up
		if port.Up {
			s.seen[port.Name] = true
		}
	}
	return down
}

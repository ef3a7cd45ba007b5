// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// sight is what the switches tell that a decision depends on; see Input.
type sight struct {
	down   map[topology.NodeName]bool
	away   map[topology.SwitchName]bool
	back   map[topology.SwitchName]time.Time
	fenced map[uint64]bool
}

// look tells what is seen now.
func (d *desk) look() sight {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := sight{map[topology.NodeName]bool{}, map[topology.SwitchName]bool{}, map[topology.SwitchName]time.Time{}, map[uint64]bool{}}
	for _, sw := range d.cluster.Switches {
		s, connected := d.stations[sw.Name]
		if !connected {
			seen.away[sw.Name] = true
			continue
		}
		seen.back[sw.Name] = s.since
		down := s.downPorts()
		for _, node := range d.cluster.Nodes {
			if node.Switch == sw.Name && down[node.Port] {
				seen.down[node.Name] = true
			}
		}
	}
	for epoch := range d.fenced {
		seen.fenced[epoch] = true
	}
	return seen
}

// tell has the loop look.
func (d *desk) tell() {
	select {
	case d.news <- struct{}{}:
	default: // it has not looked since the last time
	}
}

// fencesAt are the failures of nodes at a switch that nobody has fenced yet, or of
// which nobody knows it. For those who hold mu.
func (d *desk) fencesAt(name topology.SwitchName) []uint64 {
	var epochs []uint64
	for _, node := range d.view.Nodes {
		if node.State == state.NodeFailed && node.Switch == name && d.view.Failures[node.Failure].Fenced == nil && !d.fenced[node.Failure] {
			epochs = append(epochs, node.Failure)
		}
	}
	slices.Sort(epochs)
	return epochs
}

// fence takes note of fences that are in force.
func (d *desk) fence(generation uint64, epochs []uint64) {
	d.mu.Lock()
	if d.generation == generation {
		for _, epoch := range epochs {
			d.fenced[epoch] = true
		}
	}
	d.mu.Unlock()
	d.tell()
}

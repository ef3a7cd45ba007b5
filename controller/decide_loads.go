// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"reflect"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// Why a node is not picked for a service, as the load summaries say it.
const (
	notUp      = "not up"
	hasFailed  = "failed"
	suspected  = "suspected by "
	noReport   = "no report yet"
	isDraining = "draining"
	isFull     = "full"
	isSick     = "unhealthy"
	hasNoMAC   = "no MAC"
)

// loads sums up what the agents report of each service, at most once in
// loadsEvery. It is for those who look; nodes pick by heartbeats.
func (d *decider) loads() {
	for _, service := range d.Config.Services {
		want := state.Load{Schema: state.Schema, Service: service.Name, Nodes: map[topology.NodeName]state.NodeLoad{}}
		for _, node := range d.members {
			want.Nodes[node.Name] = d.nodeLoad(service, node)
		}
		if have, known := d.View.Loads[service.Name]; known && reflect.DeepEqual(have, want) {
			continue
		}
		if d.Now.Before(d.LoadsAt) {
			d.wake(d.LoadsAt)
			return
		}
		d.put(want)
	}
}

func (d *decider) nodeLoad(service topology.Service, node state.Node) state.NodeLoad {
	load := state.NodeLoad{Weight: node.Weight}
	agent, alive := d.View.Agents[node.Name]
	if node.State == state.NodeFailed {
		load.Reason = hasFailed
		return load
	}
	if !alive {
		load.Reason = notUp
		return load
	}
	report, reported := agent.Services[service.Name]
	load.Active, load.Adopted = report.Active, report.Adopted
	switch {
	case node.MAC.IsZero():
		load.Reason = hasNoMAC
	case !reported:
		load.Reason = noReport
	case len(d.suspects[node.Name]) > 0:
		load.Reason = suspected + names(d.suspects[node.Name])
	case node.Draining:
		load.Reason = isDraining
	case !report.Healthy && report.Reason != "":
		load.Reason = isSick + ": " + report.Reason
	case !report.Healthy:
		load.Reason = isSick
	case service.MaxConns > 0 && report.Active >= service.MaxConns:
		load.Reason = isFull
	default:
		load.Pickable = true
	}
	return load
}

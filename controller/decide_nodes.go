// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// nodes decides on the members: those of the configuration, each under an id
// that stays with its name, up as long as its agent's lease lives.
func (d *decider) nodes() {
	d.dropNodes()
	kept := d.keepNodeIDs()
	for _, config := range d.Config.Nodes {
		have, known := d.View.Nodes[config.Name]
		id, ok := kept[config.Name]
		if !ok {
			id, ok = d.ids.newNode(config.Name)
		}
		if !ok {
			d.warn(Warning{Reason: NoFreeID, Node: config.Name, Text: "all 254 node ids are in use or rest: the node joins when one is free"})
			continue
		}
		want := d.node(config, have, known, id)
		d.members = append(d.members, want)
		if want != have {
			d.put(want, nodeEvents(have, want, known)...)
		}
	}
	d.warnMACs()
}

// dropNodes deletes the records of nodes that left the configuration; their ids rest.
func (d *decider) dropNodes() {
	configured := map[topology.NodeName]bool{}
	for _, config := range d.Config.Nodes {
		configured[config.Name] = true
	}
	for _, name := range sortedKeys(d.View.Nodes) {
		if configured[name] {
			continue
		}
		node := d.View.Nodes[name]
		d.drop(node, Event{Kind: NodeRemoved, Node: name, ID: int(node.ID)})
		d.ids.resting.Nodes[name] = state.RestingNode{ID: node.ID, Since: d.Now}
	}
}

// keepNodeIDs comes before any new id is given, so that nobody gets a known
// node's. Of two records with one id, which only a stranger can have written,
// the first keeps it.
func (d *decider) keepNodeIDs() map[topology.NodeName]topology.NodeID {
	kept := map[topology.NodeName]topology.NodeID{}
	for _, config := range d.Config.Nodes {
		if have, known := d.View.Nodes[config.Name]; known && d.ids.keepNode(have.ID) {
			kept[config.Name] = have.ID
		}
	}
	return kept
}

// node is the record of a member as it should be.
func (d *decider) node(config topology.Node, have state.Node, known bool, id topology.NodeID) state.Node {
	agent, alive := d.View.Agents[config.Name]
	want := state.Node{
		Schema:      state.Schema,
		Name:        config.Name,
		ID:          id,
		State:       nextState(have.State, alive),
		Draining:    have.Draining,
		Weight:      config.Weight,
		MAC:         have.MAC,
		Switch:      config.Switch,
		Port:        config.Port,
		Incarnation: have.Incarnation,
		Since:       have.Since,
	}
	if alive {
		want.MAC, want.Incarnation = agent.MAC, agent.Incarnation
	}
	if !config.MAC.IsZero() {
		want.MAC = config.MAC
	}
	if !known || want.State != have.State {
		want.Since = d.Now
	}
	return want
}

// nextState is the state of a node whose agent is alive, or not.
func nextState(have state.NodeState, alive bool) state.NodeState {
	switch {
	case alive:
		return state.NodeUp
	case have == state.NodeUp || have == state.NodeLost:
		return state.NodeLost
	default:
		return state.NodeExpected
	}
}

// nodeEvents tells what became of a node.
func nodeEvents(have, want state.Node, known bool) []Event {
	var events []Event
	e := Event{Node: want.Name, ID: int(want.ID)}
	if !known {
		e.Kind = NodeAdded
		events = append(events, e)
	}
	switch {
	case want.State != have.State && want.State == state.NodeUp:
		e.Kind = NodeUp
	case want.State != have.State && want.State == state.NodeLost:
		e.Kind = NodeLost
	case known && want.Incarnation != have.Incarnation:
		e.Kind = NodeRestarted
	case known:
		e.Kind = NodeChanged
	default:
		return events
	}
	return append(events, e)
}

// warnMACs tells of members that the switch cannot tell apart, or cannot reach.
func (d *decider) warnMACs() {
	owner := map[topology.MAC]topology.NodeName{}
	for _, node := range d.members {
		if node.State == state.NodeExpected {
			continue
		}
		if node.MAC.IsZero() {
			d.warn(Warning{Reason: NoMAC, Node: node.Name, Text: "the agent reports no MAC and the configuration has none: the node gets no packets"})
			continue
		}
		if first, twice := owner[node.MAC]; twice {
			d.warn(Warning{Reason: SameMAC, Node: node.Name, Text: fmt.Sprintf("MAC %s is that of node %s too: each node needs its own", node.MAC, first)})
			continue
		}
		owner[node.MAC] = node.Name
		if agent, alive := d.View.Agents[node.Name]; alive && agent.MAC != node.MAC && !agent.MAC.IsZero() {
			d.warn(Warning{Reason: OtherMAC, Node: node.Name, Text: fmt.Sprintf("the configuration says MAC %s, the agent %s: the configuration's is used", node.MAC, agent.MAC)})
		}
	}
}

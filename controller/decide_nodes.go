// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// nodes decides on the members: those of the configuration, each under an id
// that stays with its name until it fails, up as long as its agent's lease lives.
func (d *decider) nodes() {
	d.dropNodes()
	ids := d.nodeIDs()
	d.judge = newJudge(d.Input, ids, d.returning)
	d.judge.run()
	d.suspects, d.out.Deaf = d.judge.suspected(), d.judge.deaf()
	d.out.Warnings = append(d.out.Warnings, d.judge.warnings...)
	if !d.judge.next.IsZero() {
		d.wake(d.judge.next)
	}
	for _, config := range d.Config.Nodes {
		have, known := d.View.Nodes[config.Name]
		id := ids[config.Name]
		if !id.Valid() {
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

// nodeIDs gives each node its id, and those that come back after a failure
// another than before.
func (d *decider) nodeIDs() map[topology.NodeName]topology.NodeID {
	ids := d.keepNodeIDs()
	for _, config := range d.Config.Nodes {
		old, has := ids[config.Name]
		if has && !d.mayReturn(config) {
			continue
		}
		var id topology.NodeID
		var ok bool
		if has {
			id, ok = d.ids.freeNode()
		} else {
			id, ok = d.ids.newNode(config.Name)
		}
		if !ok {
			d.warn(Warning{Reason: NoFreeID, Node: config.Name, Text: "all 254 node ids are in use or rest: the node joins when one is free"})
			continue
		}
		ids[config.Name] = id
		if has {
			d.returning[config.Name] = true
			d.ids.resting.Failed[old] = state.RestingFailed{Node: config.Name, Since: d.Now}
		}
	}
	return ids
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
		if node.State == state.NodeFailed {
			d.ids.resting.Failed[node.ID] = state.RestingFailed{Node: name, Since: d.Now}
			continue
		}
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
	verdict, fails := d.judge.verdicts[config.Name]
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
		Failure:     have.Failure,
	}
	if d.returning[config.Name] {
		want.State = state.NodeUp
	}
	// What failed keeps the MAC that is fenced, and the boot that is gone.
	if stays := want.State != state.NodeFailed && (!fails || want.Incarnation == ""); alive && stays {
		want.MAC, want.Incarnation = agent.MAC, agent.Incarnation
	}
	if !config.MAC.IsZero() {
		want.MAC = config.MAC
	}
	if fails {
		want.State, want.Failure = state.NodeFailed, d.failing(want, verdict)
	}
	if !known || want.State != have.State {
		want.Since = d.Now
	}
	return want
}

// nextState is the state of a node whose agent is alive, or not, unless it is
// judged or comes back.
func nextState(have state.NodeState, alive bool) state.NodeState {
	switch {
	case have == state.NodeFailed:
		return state.NodeFailed
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
	case want.State == state.NodeFailed && have.State != state.NodeFailed:
		return events // told with the failure
	case want.State == state.NodeUp && have.State == state.NodeFailed:
		e.Kind, e.Epoch = NodeBack, want.Failure
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
		if node.State == state.NodeExpected || node.State == state.NodeFailed {
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

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// guardsTime is how long a failure stays as it is after its fence: the guards
// adopt and reset by the slot table without the node, before it may be back.
const guardsTime = time.Second

// A node that fails again and again in one boot, by its link or because others
// hear it late, stays out for longer each time. Failures count until their record is
// deleted, that is as long as ids rest.
const (
	flapFirst = time.Second // at the second failure; it doubles with each
	flapMost  = 30 * time.Second
)

// failing notes a failure and returns its epoch. It is written when the slot
// table without the node is known.
func (d *decider) failing(have state.Node, v verdict) uint64 {
	d.epoch++
	f := state.Failure{
		Schema:         state.Schema,
		Epoch:          d.epoch,
		Node:           have.Name,
		ID:             have.ID,
		Incarnation:    have.Incarnation,
		Reason:         v.reason,
		Reporters:      v.reporters,
		SlotNodes:      []topology.NodeID{have.ID},
		SlotSchedulers: d.Config.Schedulers,
		Since:          d.Now,
	}
	if slots := d.View.Slots; slots != nil {
		// A node that was lost before has left the table already: its guards are
		// those of the table that had it.
		f.SlotNodes = append(f.SlotNodes, slots.Nodes...)
		f.SlotSchedulers = slots.Schedulers
	}
	slices.Sort(f.SlotNodes)
	f.SlotNodes = slices.Compact(f.SlotNodes)
	d.failed = append(d.failed, f)
	return f.Epoch
}

// highestEpoch is the highest that a failure ever had. Even a node that nobody
// knows any more may hold one.
func highestEpoch(view state.View) uint64 {
	var highest uint64
	if view.IDs != nil {
		highest = view.IDs.FailureEpoch
	}
	for epoch := range view.Failures {
		highest = max(highest, epoch)
	}
	for key := range view.Broken {
		if key.Kind == state.KindFailure {
			highest = max(highest, key.Number)
		}
	}
	for _, node := range view.Nodes {
		highest = max(highest, node.Failure)
	}
	for _, agent := range view.Agents {
		highest = max(highest, agent.Cleared)
	}
	return highest
}

// failures writes the failures of this decision, what became of earlier ones,
// and deletes those that are over.
func (d *decider) failures(slotEpoch uint64) {
	for _, f := range d.failed {
		f.SlotEpoch = slotEpoch
		d.put(f, Event{Kind: NodeFailed, Node: f.Node, ID: int(f.ID), Epoch: f.Epoch, Reason: f.Reason, Reporters: names(f.Reporters)})
	}
	for _, epoch := range sortedKeys(d.View.Failures) {
		f := d.View.Failures[epoch]
		member, isMember := d.member(f.Node)
		current := isMember && member.Failure == epoch
		switch {
		case current && member.State == state.NodeFailed:
			d.fence(f)
		case current && f.Left == nil:
			f.Left = d.now()
			d.put(f)
		case d.rested(since(f)):
			d.drop(f)
		}
	}
}

func (d *decider) now() *time.Time {
	now := d.Now
	return &now
}

// since is the moment from which the id of a failure rests.
func since(f state.Failure) time.Time {
	if f.Left != nil {
		return *f.Left
	}
	return f.Since
}

func (d *decider) member(name topology.NodeName) (state.Node, bool) {
	for _, node := range d.members {
		if node.Name == name {
			return node, true
		}
	}
	return state.Node{}, false
}

// fence notes that the fence of a failure is in force, or warns that it is not.
func (d *decider) fence(f state.Failure) {
	sw := d.switchOf(f.Node)
	switch {
	case f.Fenced != nil:
	case d.Fenced[f.Epoch]:
		f.Fenced = d.now()
		d.put(f, Event{Kind: NodeFenced, Node: f.Node, ID: int(f.ID), Epoch: f.Epoch})
	case d.Away[sw]:
		d.warn(Warning{Reason: NotFenced, Node: f.Node, Text: "failed, and can not be fenced, for switch " + string(sw) + " is not connected: nobody may act in its place until it is"})
	}
}

func (d *decider) switchOf(name topology.NodeName) topology.SwitchName {
	i := slices.IndexFunc(d.Config.Nodes, func(n topology.Node) bool { return n.Name == name })
	if i < 0 {
		return ""
	}
	return d.Config.Nodes[i].Switch
}

// mayReturn tells whether a failed node can be a member again, under another id:
// nothing of the incarnation that failed may be left, and its guards must have
// had their time.
func (d *decider) mayReturn(config topology.Node) bool {
	have := d.View.Nodes[config.Name]
	if have.State != state.NodeFailed || d.View.IsBroken(have) {
		return false
	}
	agent, alive := d.View.Agents[config.Name]
	rebooted := agent.Incarnation != "" && agent.Incarnation != have.Incarnation
	if !alive || !rebooted && agent.Cleared < have.Failure || d.Down[config.Name] || d.Away[config.Switch] {
		return false
	}
	f, known := d.View.Failures[have.Failure]
	if !known {
		return d.Fenced[have.Failure]
	}
	return f.Fenced != nil && d.passed(f.Fenced.Add(guardsTime)) && (rebooted || d.calm(f))
}

// passed tells whether a time has come, and asks for a decision when it comes.
func (d *decider) passed(at time.Time) bool {
	if d.Now.Before(at) {
		d.wake(at)
		return false
	}
	return true
}

// calm tells whether a node that failed in this boot is trusted again.
func (d *decider) calm(f state.Failure) bool {
	flaps := 0
	for _, other := range d.View.Failures {
		if other.Node == f.Node && other.Incarnation == f.Incarnation {
			flaps++
		}
	}
	if flaps < 2 {
		return true
	}
	out := flapMost
	if doublings := flaps - 2; doublings < 8 {
		out = min(out, flapFirst<<doublings)
	}
	if d.passed(f.Since.Add(out)) {
		return true
	}
	d.warn(Warning{Reason: NodeFlaps, Node: f.Node, Text: "failed again and again without a boot in between: it stays out for " + out.String() + ", and longer next time; look at its cable and port, and what keeps its heartbeats"})
	return false
}

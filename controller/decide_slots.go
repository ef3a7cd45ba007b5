// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// slots shares the slots among the nodes that are up. When none is, the last
// table stays, without those that failed: it is as good as any, and nodes that
// are only cut off from etcd go on with it. It returns the epoch of the table in force, and the table if it
// is another.
func (d *decider) slots() (epoch uint64, moved *state.Slots) {
	up := d.upNodes()
	have := d.View.Slots
	if len(up) == 0 {
		if have == nil {
			return 0, nil
		}
		d.warn(Warning{Reason: NoNodeUp, Text: "no agent is in reach of etcd: the slot table stays as it was, without nodes that failed"})
		if up = d.notFailed(have.Nodes); len(up) == len(have.Nodes) {
			return have.Epoch, nil
		}
	}
	// A table that was deleted had an epoch too; no epoch exceeds the revision.
	epoch = uint64(d.View.Revision)
	if have != nil {
		epoch = have.Epoch
		if slices.Equal(have.Nodes, up) && have.Schedulers == d.Config.Schedulers {
			return epoch, nil
		}
	}
	want := state.Slots{Schema: state.Schema, Epoch: epoch + 1, Nodes: up, Schedulers: d.Config.Schedulers}
	want.Primary, want.Secondary = scheduler.Slots(up, d.Config.Schedulers)
	return want.Epoch, &want
}

// notFailed leaves out the ids of failed members.
func (d *decider) notFailed(ids []topology.NodeID) []topology.NodeID {
	return slices.DeleteFunc(slices.Clone(ids), func(id topology.NodeID) bool {
		return slices.ContainsFunc(d.members, func(n state.Node) bool { return n.ID == id && n.State == state.NodeFailed })
	})
}

// upNodes are the ids of the members that get packets and have a live agent,
// ascending.
func (d *decider) upNodes() []topology.NodeID {
	var up []topology.NodeID
	for _, node := range d.members {
		if node.State == state.NodeUp && !node.MAC.IsZero() {
			up = append(up, node.ID)
		}
	}
	slices.Sort(up)
	return up
}

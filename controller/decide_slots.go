// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// slots shares the slots among the nodes that are up. When none is, the last
// table stays: it is as good as any, and nodes that are only cut off from etcd
// go on with it.
func (d *decider) slots() {
	up := d.upNodes()
	have := d.View.Slots
	if len(up) == 0 {
		if have != nil {
			d.warn(Warning{Reason: NoNodeUp, Text: "no agent is in reach of etcd: the slot table stays as it was"})
		}
		return
	}
	// A table that was deleted had an epoch too; no epoch exceeds the revision.
	epoch := uint64(d.View.Revision)
	if have != nil {
		epoch = have.Epoch
		if slices.Equal(have.Nodes, up) && have.Schedulers == d.Config.Schedulers {
			return
		}
	}
	want := state.Slots{Schema: state.Schema, Epoch: epoch + 1, Nodes: up, Schedulers: d.Config.Schedulers}
	want.Primary, want.Secondary = scheduler.Slots(up, d.Config.Schedulers)
	d.put(want, Event{Kind: SlotsMoved, Epoch: want.Epoch})
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

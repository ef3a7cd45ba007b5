// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"

	"github.com/onevip/onevip/topology"
)

// GuardOf names the node that remembers, for a connection in this slot, what its
// owner's death would leave behind: the secondary, or the primary where the
// secondary itself is the owner. topology.Undecided where there is nobody else.
func GuardOf(primary, secondary []topology.NodeID, slot int, owner topology.NodeID) topology.NodeID {
	guard := secondary[slot]
	if guard == owner {
		guard = primary[slot]
	}
	if guard == owner {
		return topology.Undecided
	}
	return guard
}

// Guards names, by slot, who acts for the failed owner's connections. nodes and
// schedulers are those of the slot table before the failure: its guards have the
// records. Where the guard is dead too, the slot goes to the one that the table
// of those who are left would have, who must ask before it acts. All nodes come
// to the same result, so that there are never two.
func Guards(nodes []topology.NodeID, schedulers topology.Schedulers, owner topology.NodeID, dead []topology.NodeID) []topology.NodeID {
	primary, secondary := Slots(nodes, schedulers)
	left := slices.DeleteFunc(slices.Clone(nodes), func(id topology.NodeID) bool {
		return id == owner || slices.Contains(dead, id)
	})
	heirs, _ := Slots(left, topology.AllSchedulers)
	guards := make([]topology.NodeID, topology.SlotCount)
	for slot := range guards {
		guards[slot] = GuardOf(primary, secondary, slot, owner)
		if !slices.Contains(left, guards[slot]) {
			guards[slot] = heirs[slot]
		}
	}
	return guards
}

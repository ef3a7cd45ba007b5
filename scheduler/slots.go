// SPDX-License-Identifier: Apache-2.0

package scheduler

import "github.com/onevip/onevip/topology"

// Slots names the primary and the secondary of each of the topology.SlotCount
// slots. It depends on the set of nodes only. With no node both are
// topology.Undecided everywhere; with one node the secondaries are.
//
// topology.AllSchedulers spreads both by rendezvous hashing; the secondary is
// the runner-up. When a node goes, the slots that it was primary of move to
// their secondaries and no other primary changes. When a node comes, it takes
// slots and none moves between the others.
//
// topology.OneScheduler is the thesis's FTCS: the node with the lowest id is
// primary of all slots, the others share the secondaries by rendezvous
// hashing. Any other value is taken as topology.AllSchedulers.
func Slots(nodes []topology.NodeID, schedulers topology.Schedulers) (primary, secondary []topology.NodeID) {
	primary = make([]topology.NodeID, topology.SlotCount)
	secondary = make([]topology.NodeID, topology.SlotCount)
	ids := members(nodes)
	if len(ids) == 0 {
		return primary, secondary
	}
	for slot := range primary {
		if schedulers == topology.OneScheduler {
			primary[slot] = ids[0]
			secondary[slot], _ = firstTwo(uint16(slot), ids[1:])
			continue
		}
		primary[slot], secondary[slot] = firstTwo(uint16(slot), ids)
	}
	return primary, secondary
}

// firstTwo gives the nodes with the highest and the second highest score of a
// slot. ids ascend: of equal scores the lower id wins.
func firstTwo(slot uint16, ids []topology.NodeID) (first, second topology.NodeID) {
	var high, next uint64
	for _, id := range ids {
		s := score(slotDomain, slot, id)
		switch {
		case first == topology.Undecided || s > high:
			second, next = first, high
			first, high = id, s
		case second == topology.Undecided || s > next:
			second, next = id, s
		}
	}
	return first, second
}

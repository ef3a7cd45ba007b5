// SPDX-License-Identifier: Apache-2.0

package bpf

import "github.com/onevip/onevip/topology"

// spreadOf is how many schedulers there are like this one, if all have as many
// slots as it has: scheduler.Candidate says what it is for.
func spreadOf(table *onevipOvSlots, self uint8) uint32 {
	own := 0
	for _, primary := range table.Primary {
		if primary == self {
			own++
		}
	}
	if own == 0 {
		return 1
	}
	return uint32((topology.SlotCount + own/2) / own)
}

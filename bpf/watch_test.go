// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"math/rand/v2"
	"testing"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// Whose connections a node watches are those that scheduler.GuardOf gives it, by the
// table in force or, where that gives it none, by the one before.
func TestWatchAgreesWithScheduler(t *testing.T) {
	rng := rand.New(rand.NewPCG(20_26, 3))
	const self = 3
	for range 20 {
		var f Filter
		f.config.Self = self
		now, before := randomSlots(rng, &f.slots), randomSlots(rng, &f.before)
		for slot := range 64 {
			f.failed.Acts[0][slot] = uint8(rng.Uint32())
		}
		f.setWatch()
		for slot, watch := range f.config.Watch {
			table := now
			if guardsNone(now, slot, self) || f.config.Watch[slot] == watchAll && now.secondary[slot] != self {
				table = before
			}
			expectWatch(t, &f, table, slot, watch)
		}
	}
}

type roles struct{ primary, secondary []topology.NodeID }

// randomSlots gives every slot to two of six nodes, or of none.
func randomSlots(rng *rand.Rand, table *onevipOvSlots) (r roles) {
	for slot := range topology.SlotCount {
		table.Primary[slot], table.Secondary[slot] = uint8(rng.IntN(7)), uint8(rng.IntN(7))
		r.primary = append(r.primary, topology.NodeID(table.Primary[slot]))
		r.secondary = append(r.secondary, topology.NodeID(table.Secondary[slot]))
	}
	return r
}

func (r roles) guards(slot int, self, owner topology.NodeID) bool {
	return scheduler.GuardOf(r.primary, r.secondary, slot, owner) == self
}

func guardsNone(r roles, slot int, self topology.NodeID) bool {
	for owner := topology.NodeID(1); owner <= 6; owner++ {
		if owner != self && r.guards(slot, self, owner) {
			return false
		}
	}
	return true
}

func expectWatch(t *testing.T, f *Filter, table roles, slot int, watch uint8) {
	t.Helper()
	self := topology.NodeID(f.config.Self)
	for owner := topology.NodeID(1); owner <= 6; owner++ {
		if owner == self {
			continue
		}
		want := table.guards(slot, self, owner)
		if got := watch == watchAll || watch == uint8(owner); got != want {
			t.Fatalf("slot %d, watch %d: node %d's connections are watched: %t, want %t", slot, watch, owner, got, want)
		}
	}
	acts := f.failed.Acts[0][slot/8]>>(slot%8)&1 != 0
	if acts && watch == watchNobody {
		t.Fatalf("slot %d: acts for a failed node, but looks at nothing", slot)
	}
}

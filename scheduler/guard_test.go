// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

func TestGuardOf(t *testing.T) {
	tests := []struct {
		name                      string
		primary, secondary, owner topology.NodeID
		want                      topology.NodeID
	}{
		{"the secondary guards the primary's own", 1, 2, 1, 2},
		{"the secondary guards a third node's", 1, 2, 3, 2},
		{"the primary guards the secondary's", 1, 2, 2, 1},
		{"a cluster of one has no guard", 1, 0, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := GuardOf([]topology.NodeID{tt.primary}, []topology.NodeID{tt.secondary}, 0, tt.owner)
			if got != tt.want {
				t.Errorf("guard %d, want %d", got, tt.want)
			}
		})
	}
}

// Every slot of a failed owner has a guard as long as somebody lives, it lives
// itself, it is the one with the record if that one lives, and the order in which
// the nodes are listed does not matter.
func TestGuardsAreAliveAndAgreed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t, 1, 12)
		schedulers := drawSchedulers(t)
		owner := rapid.SampledFrom(nodes).Draw(t, "owner")
		dead := rapid.SliceOfDistinct(rapid.SampledFrom(nodes), rapid.ID[topology.NodeID]).Draw(t, "dead")
		alive := slices.DeleteFunc(slices.Clone(nodes), func(id topology.NodeID) bool {
			return id == owner || slices.Contains(dead, id)
		})
		guards := Guards(nodes, schedulers, owner, dead)
		primary, secondary := Slots(nodes, schedulers)
		for slot, guard := range guards {
			if len(alive) == 0 {
				if guard != topology.Undecided {
					t.Fatalf("slot %d: guard %d, and nobody lives", slot, guard)
				}
				continue
			}
			if !slices.Contains(alive, guard) {
				t.Fatalf("slot %d: guard %d does not live", slot, guard)
			}
			if first := GuardOf(primary, secondary, slot, owner); slices.Contains(alive, first) && guard != first {
				t.Fatalf("slot %d: guard %d, but %d has the records and lives", slot, guard, first)
			}
		}
		other := slices.Clone(nodes)
		slices.Reverse(other)
		if diff := cmp.Diff(guards, Guards(other, schedulers, owner, dead)); diff != "" {
			t.Errorf("another order, other guards (-want +got):\n%s", diff)
		}
	})
}

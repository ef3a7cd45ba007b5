// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// drawNodes draws at least atLeast different ids, in any order.
func drawNodes(t *rapid.T, atLeast, atMost int) []topology.NodeID {
	id := rapid.Custom(func(t *rapid.T) topology.NodeID {
		return topology.NodeID(rapid.IntRange(1, int(topology.MaxNodeID)).Draw(t, "id"))
	})
	return rapid.SliceOfNDistinct(id, atLeast, atMost, rapid.ID[topology.NodeID]).Draw(t, "nodes")
}

func drawSchedulers(t *rapid.T) topology.Schedulers {
	return rapid.SampledFrom([]topology.Schedulers{topology.OneScheduler, topology.AllSchedulers}).Draw(t, "schedulers")
}

func filled(id topology.NodeID) []topology.NodeID {
	return slices.Repeat([]topology.NodeID{id}, topology.SlotCount)
}

func TestSlotsOfFewNodes(t *testing.T) {
	tests := []struct {
		name               string
		nodes              []topology.NodeID
		schedulers         topology.Schedulers
		primary, secondary topology.NodeID
	}{
		{"no node", nil, topology.AllSchedulers, 0, 0},
		{"no node, one scheduler", nil, topology.OneScheduler, 0, 0},
		{"one node", []topology.NodeID{7}, topology.AllSchedulers, 7, 0},
		{"one node listed twice", []topology.NodeID{7, 7}, topology.AllSchedulers, 7, 0},
		{"ids that no node can have", []topology.NodeID{0, 255}, topology.AllSchedulers, 0, 0},
		{"one scheduler of two", []topology.NodeID{9, 4}, topology.OneScheduler, 4, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			primary, secondary := Slots(tt.nodes, tt.schedulers)
			if diff := cmp.Diff(filled(tt.primary), primary); diff != "" {
				t.Errorf("primary (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(filled(tt.secondary), secondary); diff != "" {
				t.Errorf("secondary (-want +got):\n%s", diff)
			}
		})
	}
}

// A table once written must come out the same in every later version: a mixed
// cluster would otherwise disagree.
func TestSlotsAreFixed(t *testing.T) {
	primary, secondary := Slots([]topology.NodeID{1, 2, 3, 4}, topology.AllSchedulers)
	if diff := cmp.Diff(goldenPrimary, primary[:16]); diff != "" {
		t.Errorf("primary (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(goldenSecondary, secondary[:16]); diff != "" {
		t.Errorf("secondary (-want +got):\n%s", diff)
	}
}

func TestSlotsSpreadEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t, 2, 16)
		primary, secondary := Slots(nodes, topology.AllSchedulers)
		for _, table := range [][]topology.NodeID{primary, secondary} {
			checkSpread(t, table, len(nodes))
		}
	})
}

func TestOneSchedulerSpreadsSecondaries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t, 2, 16)
		primary, secondary := Slots(nodes, topology.OneScheduler)
		if diff := cmp.Diff(filled(slices.Min(nodes)), primary); diff != "" {
			t.Fatalf("primary (-want +got):\n%s", diff)
		}
		checkSpread(t, secondary, len(nodes)-1)
	})
}

// checkSpread allows each node its share of the rows and six standard
// deviations of a binomial distribution around it.
func checkSpread(t *rapid.T, table []topology.NodeID, nodes int) {
	counts := map[topology.NodeID]int{}
	for _, id := range table {
		counts[id]++
	}
	mean := float64(len(table)) / float64(nodes)
	variance := mean * (1 - 1/float64(nodes))
	for id, n := range counts {
		if d := float64(n) - mean; d*d > 36*variance {
			t.Fatalf("node %d has %d rows of %d among %d nodes", id, n, len(table), nodes)
		}
	}
	if len(counts) != nodes {
		t.Fatalf("%d nodes have rows, want %d", len(counts), nodes)
	}
}

func TestSlotsIgnoreOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t, 1, 12)
		schedulers := drawSchedulers(t)
		shuffled := rapid.Permutation(nodes).Draw(t, "shuffled")
		p1, s1 := Slots(nodes, schedulers)
		p2, s2 := Slots(shuffled, schedulers)
		if !slices.Equal(p1, p2) || !slices.Equal(s1, s2) {
			t.Fatal("the tables depend on the order of the nodes")
		}
	})
}

// When a node goes, its secondary takes over, and nothing else moves.
func TestSlotsMoveAsLittleAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t, 2, 12)
		gone := rapid.SampledFrom(nodes).Draw(t, "gone")
		left := slices.DeleteFunc(slices.Clone(nodes), func(id topology.NodeID) bool { return id == gone })
		primary, secondary := Slots(nodes, topology.AllSchedulers)
		primaryAfter, secondaryAfter := Slots(left, topology.AllSchedulers)
		for slot := range topology.SlotCount {
			want := primary[slot]
			if want == gone {
				want = secondary[slot]
			}
			if primaryAfter[slot] != want {
				t.Fatalf("slot %d: primary %d, want %d", slot, primaryAfter[slot], want)
			}
			touched := primary[slot] == gone || secondary[slot] == gone
			if !touched && secondaryAfter[slot] != secondary[slot] {
				t.Fatalf("slot %d: the secondary moved from %d to %d", slot, secondary[slot], secondaryAfter[slot])
			}
		}
	})
}

func TestSecondaryIsNeverThePrimary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		primary, secondary := Slots(drawNodes(t, 1, 12), drawSchedulers(t))
		for slot := range topology.SlotCount {
			if primary[slot] == secondary[slot] {
				t.Fatalf("slot %d: node %d is both", slot, primary[slot])
			}
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

func TestPick(t *testing.T) {
	tests := []struct {
		name       string
		policy     topology.Policy
		candidates []Candidate
		want       topology.NodeID
	}{
		{"nobody", topology.LeastConnection, nil, topology.Undecided},
		{"the only one", topology.RoundRobin, []Candidate{{Node: 3, Weight: 1, Active: 9}}, 3},
		{"fewer active", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: 1, Active: 2}, {Node: 2, Weight: 1, Active: 1}}, 2},
		{"weight counts", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: 1, Active: 2}, {Node: 2, Weight: 3, Active: 5}}, 2},
		{"in flight counts", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: 1, Active: 1, Assigned: 12, Settled: 10}, {Node: 2, Weight: 1, Active: 2}}, 2},
		{"a tie goes to the smaller share", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: 1, Assigned: 8, Settled: 8}, {Node: 2, Weight: 1, Assigned: 7, Settled: 7}}, 2},
		{"equal in all: the first listed", topology.LeastConnection,
			[]Candidate{{Node: 4, Weight: 2, Active: 2}, {Node: 2, Weight: 1, Active: 1}}, 4},
		{"round-robin is blind to load", topology.RoundRobin,
			[]Candidate{{Node: 1, Weight: 1, Active: 9, Assigned: 3}, {Node: 2, Weight: 1, Assigned: 4}}, 1},
		{"base is subtracted", topology.RoundRobin,
			[]Candidate{{Node: 1, Weight: 1, Assigned: 5}, {Node: 2, Weight: 1, Assigned: 100, Base: 96}}, 2},
		{"more settled than assigned is nothing in flight", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: 1, Active: 1}, {Node: 2, Weight: 1, Assigned: 1, Settled: 5}}, 2},
		{"a base above assigned is no share", topology.RoundRobin,
			[]Candidate{{Node: 1, Weight: 1, Assigned: 1}, {Node: 2, Weight: 1, Assigned: 1, Base: 5}}, 2},
		{"source-hash is not decided here", topology.SourceHash,
			[]Candidate{{Node: 1, Weight: 1, Active: 2}, {Node: 2, Weight: 1, Active: 1}}, topology.Undecided},
		{"huge numbers do not wrap", topology.LeastConnection,
			[]Candidate{{Node: 1, Weight: math.MaxUint16, Active: math.MaxUint32, Assigned: math.MaxUint64},
				{Node: 2, Weight: math.MaxUint16, Active: math.MaxUint32}}, 2},
		{"beyond 2^48 all are equal", topology.RoundRobin,
			[]Candidate{{Node: 1, Weight: 1, Assigned: math.MaxUint64}, {Node: 2, Weight: 1, Assigned: maxTerm}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Pick(tt.policy, tt.candidates); got != tt.want {
				t.Errorf("Pick = %d, want %d", got, tt.want)
			}
		})
	}
}

// drawCandidates draws small numbers, so that ties are common, mixed with
// numbers near the limits.
func drawCandidates(t *rapid.T) []Candidate {
	number := rapid.OneOf(rapid.Uint64Range(0, 6), rapid.Uint64Range(1<<47, 1<<49), rapid.Uint64())
	nodes := drawNodes(t, 1, 8)
	out := make([]Candidate, len(nodes))
	for i, id := range nodes {
		out[i] = Candidate{
			Node:     id,
			Weight:   rapid.OneOf(rapid.Uint16Range(1, 3), rapid.Uint16Range(1, math.MaxUint16)).Draw(t, "weight"),
			Active:   uint32(rapid.OneOf(rapid.Uint64Range(0, 4), rapid.Uint64Range(0, math.MaxUint32)).Draw(t, "active")),
			Assigned: number.Draw(t, "assigned"),
			Settled:  number.Draw(t, "settled"),
			Base:     number.Draw(t, "base"),
		}
	}
	return out
}

// ratio computes a term of the specification without limits of the machine.
func ratio(extra uint32, plus, minus uint64, weight uint16) *big.Rat {
	n := new(big.Int).Sub(new(big.Int).SetUint64(plus), new(big.Int).SetUint64(minus))
	if n.Sign() < 0 {
		n.SetInt64(0)
	}
	n.Add(n, big.NewInt(int64(extra)))
	if limit := big.NewInt(maxTerm); n.Cmp(limit) > 0 {
		n = limit
	}
	return new(big.Rat).SetFrac(n, big.NewInt(int64(weight)))
}

// pickSlowly sorts out the losers criterion by criterion.
func pickSlowly(policy topology.Policy, candidates []Candidate) topology.NodeID {
	left := candidates
	if policy != topology.RoundRobin {
		left = smallest(left, func(c Candidate) *big.Rat { return ratio(c.Active, c.Assigned, c.Settled, c.Weight) })
	}
	left = smallest(left, func(c Candidate) *big.Rat { return ratio(0, c.Assigned, c.Base, c.Weight) })
	return left[0].Node
}

func smallest(candidates []Candidate, term func(Candidate) *big.Rat) []Candidate {
	var out []Candidate
	for _, c := range candidates {
		if len(out) > 0 && term(c).Cmp(term(out[0])) < 0 {
			out = nil
		}
		if len(out) == 0 || term(c).Cmp(term(out[0])) == 0 {
			out = append(out, c)
		}
	}
	return out
}

func TestPickAgreesWithExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawCandidates(t)
		policy := rapid.SampledFrom([]topology.Policy{topology.LeastConnection, topology.RoundRobin}).Draw(t, "policy")
		if got, want := Pick(policy, candidates), pickSlowly(policy, candidates); got != want {
			t.Fatalf("Pick = %d, want %d of %+v", got, want, candidates)
		}
	})
}

// A burst that no heartbeat interrupts spreads as evenly as whole connections
// can: a node is never a connection ahead of what its weight gives it.
func TestBurstSpreadsByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]topology.Policy{topology.LeastConnection, topology.RoundRobin}).Draw(t, "policy")
		candidates := make([]Candidate, rapid.IntRange(2, 8).Draw(t, "nodes"))
		for i := range candidates {
			candidates[i] = Candidate{Node: topology.NodeID(i + 1), Weight: rapid.Uint16Range(1, 10).Draw(t, "weight")}
		}
		for range rapid.IntRange(1, 500).Draw(t, "burst") {
			assign(candidates, Pick(policy, candidates))
		}
		for _, a := range candidates {
			for _, b := range candidates {
				if a.Assigned > 0 && less(b.Assigned, b.Weight, a.Assigned-1, a.Weight) {
					t.Fatalf("node %d got %d at weight %d while node %d got %d at weight %d",
						a.Node, a.Assigned, a.Weight, b.Node, b.Assigned, b.Weight)
				}
			}
		}
	})
}

// New connections avoid loaded nodes until all are level.
func TestBurstLevelsLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := make([]Candidate, rapid.IntRange(2, 8).Draw(t, "nodes"))
		for i := range candidates {
			candidates[i] = Candidate{Node: topology.NodeID(i + 1), Weight: 1,
				Active: rapid.Uint32Range(0, 60).Draw(t, "active")}
		}
		for range rapid.IntRange(1, 500).Draw(t, "burst") {
			assign(candidates, Pick(topology.LeastConnection, candidates))
		}
		for _, a := range candidates {
			for _, b := range candidates {
				if a.Assigned > 0 && a.load() > b.load()+1 {
					t.Fatalf("node %d was given load %d while node %d had %d", a.Node, a.load(), b.Node, b.load())
				}
			}
		}
	})
}

func assign(candidates []Candidate, id topology.NodeID) {
	for i := range candidates {
		if candidates[i].Node == id {
			candidates[i].Assigned++
		}
	}
}

// Of two nodes one has four connections more. A lone scheduler makes up for them by
// four picks; one of four like it by one, for the others do the same.
func TestSpreadSharesTheMakingUp(t *testing.T) {
	for spread, want := range map[uint32]int{0: 4, 1: 4, 2: 2, 4: 1} {
		nodes := []Candidate{{Node: 1, Weight: 1, Active: 4, Spread: spread}, {Node: 2, Weight: 1, Spread: spread}}
		got := 0
		for Pick(topology.LeastConnection, nodes) == 2 {
			nodes[1].Assigned++
			got++
		}
		if got != want {
			t.Errorf("spread %d: %d picks make up for 4, want %d", spread, got, want)
		}
	}
}

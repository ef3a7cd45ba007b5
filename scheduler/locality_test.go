// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// loaded makes nodes 1, 2, ... of weight 1 with so many connections.
func loaded(active ...uint32) (out []Candidate) {
	for i, n := range active {
		out = append(out, Candidate{Node: topology.NodeID(i + 1), Weight: WeightUnit, Active: n})
	}
	return out
}

// homes is a table of one node, but for row 1, whose home is 2.
func homes(of topology.NodeID) []topology.NodeID {
	table := slices.Repeat([]topology.NodeID{of}, SourceBuckets)
	table[1] = 2
	return table
}

func TestLARD(t *testing.T) {
	type set = []topology.NodeID
	const decay, long = 20 * time.Second, 21 * time.Second
	heavy := loaded(0, 100)
	heavy[1].Weight = 2 * WeightUnit
	tests := []struct {
		name       string
		candidates []Candidate
		home       topology.NodeID
		set        set
		age        time.Duration
		want       Decision
	}{
		{"nobody", nil, 1, set{3}, long, Decision{0, set{3}, 0}},
		{"the home, though others have less", loaded(60, 0), 1, nil, 0, Decision{1, nil, Hit}},
		{"the home can not be picked: the next home", loaded(5, 5), 9, nil, 0, Decision{2, nil, Moved}},
		{"no home can be picked: the least loaded", loaded(5), 9, nil, 0, Decision{1, nil, Moved}},
		{"the set, not the home", loaded(0, 5), 1, set{2}, 0, Decision{2, set{2}, Hit}},
		{"the best of the set", loaded(0, 5, 4), 1, set{2, 3}, 0, Decision{3, set{2, 3}, Hit}},
		{"nobody of the set can be picked", loaded(0, 5), 1, set{8, 9}, 0, Decision{1, set{8, 9}, Hit}},

		{"at high: no more", loaded(65, 0), 1, nil, 0, Decision{1, nil, Hit}},
		{"above high, and one is below low", loaded(66, 24), 1, nil, 0, Decision{2, set{1, 2}, Grown}},
		{"above high, and none is below low", loaded(66, 25), 1, nil, 0, Decision{1, nil, Hit}},
		{"at twice high, and one has half", loaded(130, 65), 1, nil, 0, Decision{2, set{1, 2}, Grown}},
		{"at twice high, and none has half", loaded(130, 66), 1, nil, 0, Decision{1, nil, Hit}},
		{"all alike above twice high", loaded(500, 480), 1, nil, 0, Decision{1, nil, Hit}},
		{"thresholds go by weight", heavy, 2, nil, 0, Decision{2, nil, Hit}},
		{"a set grows at its end", loaded(99, 0, 98), 1, set{3, 1}, 0, Decision{2, set{3, 1, 2}, Grown}},
		{"a stand-in grows into a set", loaded(99, 0), 1, set{9}, long, Decision{2, set{1, 2}, Grown}},
		{"a full set loses its worst", loaded(90, 91, 92, 99, 93, 94, 95, 96, 0), 1, set{1, 2, 3, 4, 5, 6, 7, 8}, 0,
			Decision{9, set{1, 2, 3, 5, 6, 7, 8, 9}, Grown}},
		{"a full set loses first who can't be picked", loaded(90, 91, 92, 99, 93, 94, 95, 0), 1, set{1, 2, 3, 4, 5, 6, 7, 9}, 0,
			Decision{8, set{1, 2, 3, 4, 5, 6, 7, 8}, Grown}},
		{"growing, it does not shrink", loaded(99, 99, 0), 3, set{1, 2}, long, Decision{3, set{1, 2, 3}, Grown}},
		{"with no relief it does", loaded(99, 99, 50), 3, set{1, 2}, long, Decision{1, set{1}, Shrunk}},

		{"until decay a set stays", loaded(1, 2), 1, set{1, 2}, decay, Decision{1, set{1, 2}, Hit}},
		{"then it loses the worst", loaded(1, 2), 3, set{1, 2}, long, Decision{1, set{1}, Shrunk}},
		{"of equals the later", loaded(0, 0), 3, set{2, 1}, long, Decision{2, set{2}, Shrunk}},
		{"who can't be picked goes first", loaded(1, 2), 3, set{1, 2, 9}, long, Decision{1, set{1, 2}, Shrunk}},
		{"what is just the home is nothing", loaded(1, 2), 1, set{2, 1}, long, Decision{1, nil, Shrunk}},
		{"a set of one stays", loaded(0, 2), 1, set{2}, long, Decision{2, set{2}, Hit}},
		{"unless that is the home by now", loaded(0, 2), 2, set{2}, long, Decision{2, nil, Shrunk}},
		{"a set nobody of which can be picked goes whole", loaded(0, 2), 1, set{8, 9}, long, Decision{1, nil, Shrunk}},
		{"a time to come is not long ago", loaded(1, 2), 1, set{1, 2}, -time.Hour, Decision{1, set{1, 2}, Hit}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Hour
			b := Bucket{Number: 2048, Set: tt.set, Changed: now - tt.age}
			got := LARD{Low: 25, High: 65, Decay: decay}.Decide(now, b, homes(tt.home), tt.candidates)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBoundedHash(t *testing.T) {
	heavy := loaded(9, 9)
	heavy[0].Weight = 3 * WeightUnit
	tests := []struct {
		name       string
		candidates []Candidate
		home       topology.NodeID
		want       topology.NodeID
		outcome    Outcome
	}{
		{"nobody", nil, 1, topology.Undecided, Spilled},
		{"no load", loaded(0, 0), 1, 1, Hit},
		{"below the bound", loaded(5, 4), 1, 1, Hit},  // 6 <= ceil(1.25*10/2) = 7
		{"that fills it", loaded(6, 3), 1, 1, Hit},    // 7 <= 7
		{"at it", loaded(7, 2), 1, 2, Spilled},        // 8 > 7
		{"by weight", heavy, 1, 1, Hit},               // 10 <= ceil(1.25*19*3/4) = 18
		{"the lighter is full", heavy, 2, 1, Spilled}, // 10 > ceil(1.25*19/4) = 6
		{"the home can not be picked", loaded(0, 0), 9, 2, Spilled},
		{"nobody is within reach", loaded(1), 9, 1, Spilled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := homes(tt.home)
			for i := range table {
				if tt.home == 2 && i%2 == 1 {
					table[i] = 1
				}
			}
			got, outcome := BoundedHash(BoundUnit*5/4, Bucket{Number: 1024}, table, tt.candidates)
			if got != tt.want || outcome != tt.outcome {
				t.Errorf("owner %d, %s; want %d, %s", got, outcome, tt.want, tt.outcome)
			}
		})
	}
}

// drawFarm draws nodes of several weights, and what they have.
func drawFarm(t *rapid.T, most uint32) []Candidate {
	out := drawWeighted(t)
	for i := range out {
		out[i].Weight *= WeightUnit
		out[i].Active = rapid.Uint32Range(0, most).Draw(t, "active")
	}
	return out
}

// drawBucket draws one, with a set of the candidates and of others.
func drawBucket(t *rapid.T, candidates []Candidate) Bucket {
	ids := []topology.NodeID{1, 77, 254}
	for _, c := range candidates {
		ids = append(ids, c.Node)
	}
	set := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, SetSize, rapid.ID[topology.NodeID]).Draw(t, "set")
	return Bucket{
		Number: rapid.Uint16Range(0, LocalityBuckets-1).Draw(t, "bucket"), Set: set,
		Changed: rapid.SampledFrom([]time.Duration{0, 50 * time.Second, time.Minute}).Draw(t, "changed"),
	}
}

var rules = LARD{Low: 25, High: 65, Decay: 20 * time.Second}

// Whatever there is: who is chosen may be picked; the set has no node twice, not more
// than fit, none that was neither there nor chosen, and stays as it is while that is
// where the request goes, or shrinks.
func TestLARDIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawFarm(t, 1000)
		b := drawBucket(t, candidates)
		d := rules.Decide(time.Minute, b, SourceHash(drawFarm(t, 0)), candidates)
		if _, ok := pool(candidates).find(d.Owner); !ok {
			t.Fatalf("owner %d can not be picked", d.Owner)
		}
		sorted := slices.Sorted(slices.Values(d.Set))
		if len(d.Set) > SetSize || len(slices.Compact(sorted)) < len(d.Set) {
			t.Fatalf("set %v", d.Set)
		}
		if changed := !slices.Equal(b.Set, d.Set); changed != (d.Outcome == Grown || d.Outcome == Shrunk) {
			t.Fatalf("set %v became %v: %s", b.Set, d.Set, d.Outcome)
		}
		if d.Outcome == Grown && !slices.Contains(d.Set, d.Owner) {
			t.Fatalf("set %v grew for %d", d.Set, d.Owner)
		}
	})
}

// Where no node is above High, no set grows, whatever the differences.
func TestLowLoadGrowsNoSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawFarm(t, rules.High)
		b := drawBucket(t, candidates)
		if d := rules.Decide(time.Minute, b, SourceHash(candidates), candidates); d.Outcome == Grown || len(d.Set) > len(b.Set) {
			t.Fatalf("set %v grew to %v", b.Set, d.Set)
		}
	})
}

// One hot key, and nothing ends: it spreads over as many nodes as a set has, by their
// weights; a cold key stays alone. When the load has gone, its set decays to one node.
func TestHotSpreadsAndDecays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawFarm(t, 0)
		table, hot := SourceHash(candidates), Bucket{Number: rapid.Uint16Range(0, 4095).Draw(t, "bucket")}
		now := time.Duration(0)
		for range 5_000 {
			d := rules.Decide(now, hot, table, candidates)
			hot = after(hot, d, now)
			assign(candidates, d.Owner)
		}
		if len(hot.Set) != len(candidates) { // they are 8 at most
			t.Fatalf("5000 connections are on %v of %d nodes", hot.Set, len(candidates))
		}
		for _, c := range candidates {
			if units := uint64(c.Weight) / WeightUnit; c.load() < units*uint64(rules.High)/2 {
				t.Fatalf("node %d of weight %d got %d", c.Node, units, c.load())
			}
		}
		for i := range candidates {
			candidates[i].Settled = candidates[i].Assigned
		}
		for range SetSize {
			now += rules.Decay + 1
			d := rules.Decide(now, hot, table, candidates)
			hot = after(hot, d, now)
		}
		if len(hot.Set) > 1 {
			t.Fatalf("without load the set stays %v", hot.Set)
		}
	})
}

// after is the bucket with what was decided.
func after(b Bucket, d Decision, now time.Duration) Bucket {
	if d.Outcome == Grown || d.Outcome == Shrunk {
		b.Set, b.Changed = d.Set, now
	}
	return b
}

// When a node goes, only what it had goes elsewhere, by both policies, at no load.
func TestLittleMovesWithANode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawFarm(t, 0)
		gone := rapid.IntRange(0, len(candidates)-1).Draw(t, "gone")
		left := slices.Delete(slices.Clone(candidates), gone, gone+1)
		table, follows := SourceHash(candidates), SourceHash(left)
		b := drawBucket(t, candidates)
		was := rules.Decide(time.Minute, b, table, candidates)
		bounded, _ := BoundedHash(2*BoundUnit, b, table, candidates)
		for _, homes := range [][]topology.NodeID{table, follows} { // before agents know, and after
			if is := rules.Decide(time.Minute, b, homes, left); is.Owner != was.Owner && was.Owner != candidates[gone].Node {
				t.Fatalf("set %v: from %d to %d, though %d went", b.Set, was.Owner, is.Owner, candidates[gone].Node)
			}
			if is, _ := BoundedHash(2*BoundUnit, b, homes, left); is != bounded && bounded != candidates[gone].Node {
				t.Fatalf("bounded: from %d to %d, though %d went", bounded, is, candidates[gone].Node)
			}
		}
	})
}

// isBelowBound computes the bound without limits of the machine.
func isBelowBound(bound uint32, c Candidate, candidates []Candidate) bool {
	load, weight := pool(candidates).total()
	share := new(big.Rat).SetFrac64(int64(bound), BoundUnit)
	share.Mul(share, new(big.Rat).SetInt(new(big.Int).SetUint64(load+1)))
	share.Mul(share, new(big.Rat).SetFrac64(int64(c.Weight), int64(weight)))
	up, rest := new(big.Int).QuoRem(share.Num(), share.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		up.Add(up, big.NewInt(1))
	}
	return new(big.Int).SetUint64(c.load()+1).Cmp(up) <= 0
}

// Bounded-hash goes to the first node within reach that is below its bound, whatever the
// numbers. There always is one somewhere.
func TestBoundedHashKeepsToItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := rapid.SampledFrom([]func(*rapid.T) []Candidate{
			drawCandidates, func(t *rapid.T) []Candidate { return drawFarm(t, 9) },
		}).Draw(t, "candidates")(t)
		bound := rapid.Uint32Range(BoundUnit, 4*BoundUnit).Draw(t, "bound")
		table, b := SourceHash(candidates), drawBucket(t, candidates)
		want := Pick(topology.LeastConnection, candidates)
		for i := 63; i >= 0; i-- {
			if c, _ := pool(candidates).find(table[(int(b.Number)+i)%1024]); isBelowBound(bound, c, candidates) {
				want = c.Node
			}
		}
		if got, _ := BoundedHash(bound, b, table, candidates); got != want {
			t.Fatalf("owner %d, want %d of %+v", got, want, candidates)
		}
		if !slices.ContainsFunc(candidates, func(c Candidate) bool { return isBelowBound(bound, c, candidates) }) {
			t.Fatalf("nobody is below a bound of %d/1024: %+v", bound, candidates)
		}
	})
}

// A burst of many keys by bounded-hash leaves no node above its bound of what there is.
func TestBoundedBurstSpreadsByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawFarm(t, 0)
		table, bound := SourceHash(candidates), rapid.Uint32Range(BoundUnit*9/8, 2*BoundUnit).Draw(t, "bound")
		keys := rapid.IntRange(1, 50).Draw(t, "keys")
		for n := range 2000 {
			id, _ := BoundedHash(bound, Bucket{Number: uint16(n % keys * 81)}, table, candidates)
			assign(candidates, id)
		}
		_, weight := pool(candidates).total()
		for _, c := range candidates {
			// The share of 2000 by weight, times bound, rounded up.
			limit := (2000*uint64(bound)*uint64(c.Weight) + weight*BoundUnit - 1) / (weight * BoundUnit)
			if c.load() > limit {
				t.Fatalf("node %d of weight %d has %d, bound %d", c.Node, c.Weight, c.load(), limit)
			}
		}
	})
}

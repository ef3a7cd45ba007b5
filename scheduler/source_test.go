// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

func TestKeysSpellTheirName(t *testing.T) {
	tests := []struct {
		k0, k1 uint64
		want   string
	}{
		{SourceKey0, SourceKey1, "onevip source v1"},
		{tableKey0, tableKey1, "onevip tables v1"},
		{KeyKey0, KeyKey1, "onevip reqkey v1"},
	}
	for _, tt := range tests {
		var key bytes.Buffer
		_ = binary.Write(&key, binary.LittleEndian, []uint64{tt.k0, tt.k1})
		if key.String() != tt.want {
			t.Errorf("key spells %q, want %q", key.String(), tt.want)
		}
	}
}

// The eBPF computes the same numbers: they may never change.
func TestSourceBucketIsFixed(t *testing.T) {
	for addr, want := range goldenBuckets {
		if got := SourceBucket(netip.MustParseAddr(addr)); got != want {
			t.Errorf("SourceBucket(%s) = %d, want %d", addr, got, want)
		}
	}
}

func TestSourceBucketTakesMappedAsIPv4(t *testing.T) {
	plain, mapped := netip.MustParseAddr("10.77.1.9"), netip.MustParseAddr("::ffff:10.77.1.9")
	if SourceBucket(plain) != SourceBucket(mapped) {
		t.Error("the same IPv4 address has two buckets")
	}
}

func TestSourceHashOfNobody(t *testing.T) {
	want := make([]topology.NodeID, SourceBuckets)
	for _, candidates := range [][]Candidate{nil, {{Node: 3, Weight: 0}}} {
		if diff := cmp.Diff(want, SourceHash(candidates)); diff != "" {
			t.Errorf("SourceHash(%v) (-want +got):\n%s", candidates, diff)
		}
	}
}

func drawWeighted(t *rapid.T) []Candidate {
	nodes := drawNodes(t, 2, 8)
	out := make([]Candidate, len(nodes))
	for i, id := range nodes {
		out[i] = Candidate{Node: id, Weight: rapid.Uint16Range(1, 5).Draw(t, "weight")}
	}
	return out
}

func TestSourceHashSharesByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawWeighted(t)
		total := 0.0
		for _, c := range candidates {
			total += float64(c.Weight)
		}
		table := SourceHash(candidates)
		for _, c := range candidates {
			p := float64(c.Weight) / total
			got := float64(count(table, c.Node))
			if sigma := math.Sqrt(SourceBuckets * p * (1 - p)); math.Abs(got-SourceBuckets*p) > 6*sigma {
				t.Fatalf("node %d of weight %d/%g has %g rows", c.Node, c.Weight, total, got)
			}
		}
	})
}

func count(table []topology.NodeID, id topology.NodeID) (n int) {
	for _, row := range table {
		if row == id {
			n++
		}
	}
	return n
}

func TestSourceHashMovesAsLittleAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawWeighted(t)
		i := rapid.IntRange(0, len(candidates)-1).Draw(t, "changed")
		changed := slices.Clone(candidates)
		changed[i].Weight = rapid.Uint16Range(0, 5).Draw(t, "new weight")
		before, after := SourceHash(candidates), SourceHash(changed)
		for row := range before {
			if before[row] == after[row] {
				continue
			}
			from, to := before[row], after[row]
			if changed[i].Weight > candidates[i].Weight && to != candidates[i].Node {
				t.Fatalf("row %d moved from %d to %d though only %d grew", row, from, to, candidates[i].Node)
			}
			if changed[i].Weight < candidates[i].Weight && from != candidates[i].Node {
				t.Fatalf("row %d moved from %d to %d though only %d shrank", row, from, to, candidates[i].Node)
			}
		}
	})
}

func TestSourceHashIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawWeighted(t)
		shuffled := rapid.Permutation(candidates).Draw(t, "shuffled")
		if !slices.Equal(SourceHash(candidates), SourceHash(shuffled)) {
			t.Fatal("the table depends on the order of the candidates")
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// served is how many connections a node counts as served with where ties are
// broken: Assigned - Base. Both numbers of the fraction count/weight fit in 48
// and 16 bits, so that products fit in 64.
type served struct {
	count  uint64
	weight uint64
	stays  bool // listed before, with the same weight
}

// rebase sets Base in the table, so that the shares which break ties mean
// something now, not since ever:
//
//   - Nodes that stay keep their shares relative to each other.
//   - Who is new, or has another weight, starts level with the least served of
//     those: it neither catches up on what it missed nor waits.
//   - Where shares only break ties, no node lags more than one connection behind
//     what a rotation leaves. A node that was rightly avoided while it was loaded
//     would otherwise get every connection of a quiet time, until it has as many
//     as the others. In round-robin the shares are the policy: nothing is forgiven.
//
// When anything changes, the least share becomes 0, so that none grows for ever.
func (s *serviceLoads) rebase(table []bpf.Load, assigned *[256]uint64) {
	shares := s.shares(table, assigned)
	changed := len(shares) > 0 && s.policy != topology.RoundRobin && forgive(shares)
	least, any := leastServed(shares)
	for i := range shares {
		if !shares[i].stays {
			changed = true
			shares[i].count = least.times(shares[i].weight)
		}
	}
	for i, l := range table {
		if changed && any {
			shares[i].count -= least.times(shares[i].weight)
		}
		n := s.nodes[l.Node]
		n.listed, n.weight = true, l.Weight
		n.base = assigned[l.Node] - min(shares[i].count, assigned[l.Node])
		table[i].Base = n.base
	}
}

// shares looks up what the nodes of the table are served with so far. A base
// above assigned is from before the programs were loaded anew: void.
func (s *serviceLoads) shares(table []bpf.Load, assigned *[256]uint64) []served {
	out := make([]served, len(table))
	for i, l := range table {
		n := s.nodes[l.Node]
		out[i].weight = uint64(l.Weight)
		if n.listed && n.weight == l.Weight && n.base <= assigned[l.Node] {
			out[i].count, out[i].stays = assigned[l.Node]-n.base, true
		}
	}
	return out
}

// forgive lifts nodes that lag. In a rotation a node gets a connection only when
// it is the least served: (count-1)/weight of any node is at most the share of
// any other. It tells whether it lifted any.
func forgive(shares []served) (lifted bool) {
	var most served // the largest (count-1)/weight
	for _, s := range shares {
		if s.stays && s.count > 0 && (most.weight == 0 || (s.count-1)*most.weight > most.count*s.weight) {
			most = served{count: s.count - 1, weight: s.weight}
		}
	}
	if most.weight == 0 {
		return false
	}
	for i, s := range shares {
		floor := (most.count*s.weight + most.weight - 1) / most.weight
		if s.stays && s.count < floor {
			shares[i].count, lifted = floor, true
		}
	}
	return lifted
}

// leastServed finds the smallest share among the nodes that stay.
func leastServed(shares []served) (least served, found bool) {
	for _, s := range shares {
		if s.stays && (!found || s.count*least.weight < least.count*s.weight) {
			least, found = s, true
		}
	}
	return least, found
}

// times is the share's count for a node of another weight, rounded down; 0 for
// the share of nobody.
func (s served) times(weight uint64) uint64 {
	if s.weight == 0 {
		return 0
	}
	return s.count * weight / s.weight
}

// SPDX-License-Identifier: Apache-2.0

package scheduler

import "github.com/onevip/onevip/topology"

// Candidate is a node that may be picked for a service: what bpf.Load says of
// it, and how often this scheduler has assigned to it.
type Candidate struct {
	Node topology.NodeID
	// Weight is its share relative to the others, 1..65535. A node of weight 0
	// is never listed.
	Weight uint16
	// Active connections, as its last heartbeat says.
	Active uint32
	// Assigned counts the SYN/ACKs in which this scheduler named the node.
	// Of them Settled are adopted or given up; the rest is in flight.
	Assigned, Settled uint64
	// Base is what Assigned was when the shares were last made equal.
	Base uint64
	// Spread is how many schedulers assign as this one does, which see the same
	// loads at the same time: what is in flight from this one is from each of them.
	// Else all would make up for one difference at once, each the whole of it. 0 is 1.
	Spread uint32
}

// maxTerm bounds both numerators, so that a product with a 16-bit weight fits
// in 64 bits: the eBPF has no wider multiplication.
const maxTerm = 1<<48 - 1

// MaxSpread is the largest Spread: each slot has a scheduler of its own.
const MaxSpread = topology.SlotCount

// load is the connections that the node has or is about to have:
// Active + Spread * (Assigned - Settled), the difference not below 0 and at most
// maxTerm / MaxSpread, the sum at most maxTerm.
func (c Candidate) load() uint64 {
	inFlight := min(monus(c.Assigned, c.Settled), maxTerm/MaxSpread)
	return min(uint64(c.Active)+uint64(max(1, c.Spread))*inFlight, maxTerm)
}

// share is what the node got of this scheduler's assignments since Base:
// Assigned - Base, not below 0, at most maxTerm.
func (c Candidate) share() uint64 { return min(monus(c.Assigned, c.Base), maxTerm) }

// Pick chooses the owner of a new connection among the candidates, in one
// pass: the first listed is kept until a later one is strictly better.
//
//   - topology.LeastConnection: better is the smaller load/weight; of equal
//     loads the smaller share/weight, so that ties rotate.
//   - topology.RoundRobin: better is the smaller share/weight alone.
//
// Fractions are compared exactly, by cross-multiplication. With no candidate
// the answer is topology.Undecided; so it is for topology.SourceHash, which the
// table of SourceHash alone decides. pick_owner in package bpf does just this.
func Pick(policy topology.Policy, candidates []Candidate) topology.NodeID {
	if len(candidates) == 0 || policy == topology.SourceHash {
		return topology.Undecided
	}
	best := candidates[0]
	for _, c := range candidates[1:] {
		if better(policy, c, best) {
			best = c
		}
	}
	return best.Node
}

// better tells whether a is strictly to be preferred to b.
func better(policy topology.Policy, a, b Candidate) bool {
	if policy != topology.RoundRobin {
		if a.load()*uint64(b.Weight) != b.load()*uint64(a.Weight) {
			return less(a.load(), a.Weight, b.load(), b.Weight)
		}
	}
	return less(a.share(), a.Weight, b.share(), b.Weight)
}

// less tells whether a/wa < b/wb. Both numerators are at most maxTerm.
func less(a uint64, wa uint16, b uint64, wb uint16) bool {
	return a*uint64(wb) < b*uint64(wa)
}

// monus is a - b, or 0 where that would be negative.
func monus(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

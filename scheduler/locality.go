// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"math/bits"
	"slices"
	"time"

	"github.com/onevip/onevip/topology"
)

const (
	// LocalityBuckets is the number of buckets of keys that a service has: a bucket
	// is the low 12 bits of the key's hash, its row of homes the low 10.
	LocalityBuckets = 4096
	// SetSize is the most nodes that a bucket has at a time.
	SetSize = 8
	// WeightUnit is what a Candidate's Weight counts as 1 where a number of
	// connections is compared with a threshold: the weight 1 of a node's entry.
	WeightUnit = 64
	// BoundUnit is the bound of BoundedHash that is 1.
	BoundUnit = 1024

	// homeSteps is how many rows of homes are looked at for a node.
	homeSteps = 64
)

// Outcome says how a request whose key is known found its node. The numbers are
// those of enum outcome in bpf/src/locality.h; a test in package bpf compares them.
type Outcome uint32

const (
	// Hit: to a node that has served its bucket before, or to the bucket's home.
	Hit Outcome = iota
	// Moved: none of those may be picked. To the next home.
	Moved
	// Grown: those are overloaded. To one more, which stays.
	Grown
	// Shrunk is a hit; the set, unchanged for long, was given up in part.
	Shrunk
	// Spilled: past its home, which is at its bound.
	Spilled
	outcomeCount
)

var outcomeNames = [outcomeCount]string{"hit", "moved", "grown", "shrunk", "spilled"}

// String is the outcome as metrics and the CLI show it.
func (o Outcome) String() string {
	if o >= outcomeCount {
		return "unknown"
	}
	return outcomeNames[o]
}

// Outcomes lists all of them.
func Outcomes() []Outcome {
	all := make([]Outcome, outcomeCount)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// Bucket is what is known of the keys that hash to one number.
type Bucket struct {
	// Number is 0..LocalityBuckets-1.
	Number uint16
	// Set is who serves it, at most SetSize; none: its home does.
	Set []topology.NodeID
	// Changed is when Set last did, on the clock of the decision's now.
	Changed time.Duration
}

// row is where the bucket's home stands.
func (b Bucket) row() int { return int(b.Number) % SourceBuckets }

// Decision is where a request goes, and what becomes of its bucket's set. If that
// differs from the one before, now is when it changed.
type Decision struct {
	Owner   topology.NodeID
	Set     []topology.NodeID
	Outcome Outcome
}

// LARD is locality-aware request distribution with replication (Pai et al.,
// ASPLOS 1998): a target stays on the nodes that have it in their cache until they
// are overloaded; then one more gets it; a set that has not changed for long loses
// one. It differs from LARD/R in this:
//
//   - A target nobody has goes to its home, by weighted rendezvous hashing
//     (SourceHash), not to the least loaded node. So all inspectors send it to one
//     place before they have heard of each other, a restart forgets nothing, and what
//     is asked for while there is no load does not all pile up on one node. Only sets
//     that differ from their home need be stored.
//   - Pai's front end lets in so few connections that of a node at twice High some
//     other is below half of it. Nobody can refuse connections here, so that is
//     asked for: if all are overloaded alike, copies do not help, and would only
//     drive everything out of the caches.
//   - A set does not shrink by a request that needs relief.
//   - Thresholds are connections per WeightUnit of a node's weight.
type LARD struct {
	// Low and High: a set whose least loaded node is above High grows if a node is
	// below Low, or if it has at least 2*High and a node has at most half of it.
	Low, High uint32
	// Decay is how long a set does not change before it shrinks.
	Decay time.Duration
}

// Decide sends a request for something in bucket b to a candidate. homes is a table
// of SourceHash; who is in it or in b.Set and no candidate is passed over. With no
// candidate the owner is topology.Undecided, and the set stays.
func (l LARD) Decide(now time.Duration, b Bucket, homes []topology.NodeID, candidates []Candidate) Decision {
	p := pool(candidates)
	if len(p) == 0 {
		return Decision{Set: b.Set}
	}
	set, outcome := b.Set, Hit
	if _, ok := p.best(set); !ok {
		set, outcome = p.standIn(b, homes)
	}
	n, _ := p.best(set)
	if relief, ok := l.relief(n, p); ok {
		return p.grow(b, set, relief, outcome)
	}
	if now-b.Changed > l.Decay && len(b.Set) > 0 {
		if left := p.shrink(b, homes); len(left) < len(b.Set) {
			return Decision{n.Node, left, Shrunk}
		}
	}
	return Decision{n.Node, b.Set, outcome}
}

// relief is the least loaded node of all, if a set whose best is n needs it.
func (l LARD) relief(n Candidate, p pool) (Candidate, bool) {
	if n.load()*WeightUnit <= uint64(l.High)*uint64(n.Weight) {
		return Candidate{}, false
	}
	least := p.least()
	if least.load()*WeightUnit < uint64(l.Low)*uint64(least.Weight) {
		return least, true
	}
	far := n.load()*WeightUnit >= 2*uint64(l.High)*uint64(n.Weight)
	return least, far && least.load()*uint64(n.Weight) <= n.load()*uint64(least.Weight)/2
}

// BoundedHash is consistent hashing with bounded loads (Mirrokni, Thorup and
// Zadimoghaddam, SODA 2018): the first node from the bucket's home on, around the
// table, that is below its bound, which is its share by weight of bound times all
// connections with this one, rounded up. bound is in units of BoundUnit, at least 1.
// The rows of a rendezvous table take the place of their ring: what is too much for a
// node spreads over all others, not over its one neighbour. It has no memory: when
// the load is gone, all are back at home.
//
// If no row within reach has one, it is the least loaded; with no candidate,
// topology.Undecided.
func BoundedHash(bound uint32, b Bucket, homes []topology.NodeID, candidates []Candidate) (topology.NodeID, Outcome) {
	p := pool(candidates)
	if len(p) == 0 {
		return topology.Undecided, Spilled
	}
	load, weight := p.total()
	owner, ok := p.walk(b.row(), homes, func(c Candidate) bool {
		// load/(bound*(all+1)*w/W) < 1; the products have up to 128 bits.
		return productLess(c.load(), weight*BoundUnit, load+1, uint64(bound)*uint64(c.Weight))
	})
	if !ok {
		owner = p.least()
	}
	if owner.Node == homes[b.row()] {
		return owner.Node, Hit
	}
	return owner.Node, Spilled
}

// productLess tells whether a*b < c*d.
func productLess(a, b, c, d uint64) bool {
	high, low := bits.Mul64(a, b)
	otherHigh, otherLow := bits.Mul64(c, d)
	if high != otherHigh {
		return high < otherHigh
	}
	return low < otherLow
}

// pool is all that may be picked, in the order in which ties are broken.
type pool []Candidate

func (p pool) find(id topology.NodeID) (Candidate, bool) {
	i := slices.IndexFunc(p, func(c Candidate) bool { return c.Node == id })
	if i < 0 {
		return Candidate{}, false
	}
	return p[i], true
}

// least is the one that Pick gives by topology.LeastConnection.
func (p pool) least() Candidate {
	c, _ := p.find(Pick(topology.LeastConnection, p))
	return c
}

func (p pool) total() (load, weight uint64) {
	for _, c := range p {
		load += c.load()
		weight += uint64(c.Weight)
	}
	return load, weight
}

// best is the best of a set, of equals the first; false: none of it may be picked.
func (p pool) best(set []topology.NodeID) (best Candidate, ok bool) {
	for _, id := range set {
		if c, known := p.find(id); known && (!ok || better(topology.LeastConnection, c, best)) {
			best, ok = c, true
		}
	}
	return best, ok
}

// leaver is who leaves a set first: a member that may not be picked, the last such;
// else the worst, of equals the last. A set of one that may be picked has none.
func (p pool) leaver(set []topology.NodeID) topology.NodeID {
	var worst Candidate
	gone, serving := topology.Undecided, 0
	for _, id := range set {
		c, ok := p.find(id)
		if !ok {
			gone = id
			continue
		}
		if serving == 0 || !better(topology.LeastConnection, c, worst) {
			worst = c
		}
		serving++
	}
	if gone != topology.Undecided || serving < 2 {
		return gone
	}
	return worst.Node
}

// walk goes through homes from a row on to a candidate that will do.
func (p pool) walk(row int, homes []topology.NodeID, does func(Candidate) bool) (Candidate, bool) {
	for i := range homeSteps {
		if c, ok := p.find(homes[(row+i)%len(homes)]); ok && does(c) {
			return c, true
		}
	}
	return Candidate{}, false
}

// standIn is who serves a bucket of whose set nobody can be picked: its home, or
// while that can not be either, the next. It is not stored, so that all is as
// before as soon as may be.
func (p pool) standIn(b Bucket, homes []topology.NodeID) ([]topology.NodeID, Outcome) {
	c, ok := p.walk(b.row(), homes, func(Candidate) bool { return true })
	if !ok {
		c = p.least()
	}
	if c.Node == homes[b.row()] {
		return []topology.NodeID{c.Node}, Hit
	}
	return []topology.NodeID{c.Node}, Moved
}

// grow gives the request to comer, and a place in the set, in a full one that of who
// leaves first.
func (p pool) grow(b Bucket, set []topology.NodeID, comer Candidate, outcome Outcome) Decision {
	if slices.Contains(set, comer.Node) {
		return Decision{comer.Node, b.Set, outcome}
	}
	if len(set) == SetSize {
		set = without(set, p.leaver(set))
	}
	return Decision{comer.Node, append(slices.Clone(set), comer.Node), Grown}
}

// shrink is the bucket's set when its time has come: one less if there are more, and
// nothing if none of it can be picked, or all that is left is its home.
func (p pool) shrink(b Bucket, homes []topology.NodeID) []topology.NodeID {
	if _, ok := p.best(b.Set); !ok {
		return nil
	}
	left := without(b.Set, p.leaver(b.Set))
	if len(left) == 1 && left[0] == homes[b.row()] {
		return nil
	}
	return left
}

func without(set []topology.NodeID, id topology.NodeID) []topology.NodeID {
	return slices.DeleteFunc(slices.Clone(set), func(n topology.NodeID) bool { return n == id })
}

// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"net/netip"
	"slices"

	"github.com/dchest/siphash"

	"github.com/onevip/onevip/topology"
)

// SourceBuckets is the number of entries of a source-hash table. It is a power
// of two: a bucket is the low 10 bits of the hash.
const SourceBuckets = 1024

// SourceKey0 and SourceKey1 are the SipHash key of SourceBucket. In memory
// order (little-endian) they spell "onevip source v1". The key is constant, so
// that all schedulers of a cluster, now and after a restart, agree.
const (
	SourceKey0 = 0x7320706976656e6f // "onevip s"
	SourceKey1 = 0x317620656372756f // "ource v1"
)

// SourceBucket is the row of the source-hash table for a client's address:
// SipHash-2-4 (Aumasson and Bernstein, 2012) under SourceKey0, SourceKey1 over
// the address in network byte order, 4 bytes for IPv4 (also where it comes
// v4-mapped), 16 for IPv6, nothing before or after; of the 64-bit result the
// low 10 bits. An IPv6 zone is ignored.
func SourceBucket(client netip.Addr) uint16 {
	return uint16(siphash.Hash(SourceKey0, SourceKey1, client.Unmap().AsSlice()) % SourceBuckets)
}

// SourceHash makes the table that keeps a client on its node: SourceBuckets
// entries, of which each node has a share in proportion to its weight, by
// weighted rendezvous hashing. When a node goes or its weight falls, only rows
// that were its own move; when one comes or its weight rises, rows move only to
// it. Only Node and Weight of the candidates count; their order does not, and
// nodes of weight 0 get nothing. With no candidate the table names
// topology.Undecided everywhere.
func SourceHash(candidates []Candidate) []topology.NodeID {
	table := make([]topology.NodeID, SourceBuckets)
	ordered := slices.Clone(candidates)
	slices.SortFunc(ordered, func(a, b Candidate) int { return int(a.Node) - int(b.Node) })
	for row := range table {
		var high float64
		for _, c := range ordered {
			if s := weightedScore(sourceDomain, uint16(row), c.Node, c.Weight); s > high {
				table[row], high = c.Node, s
			}
		}
	}
	return table
}

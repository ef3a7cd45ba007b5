// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/dchest/siphash"

	"github.com/onevip/onevip/topology"
)

// domain keeps the tables independent of each other: a node that is strong in
// one of them is not thereby strong in the next.
type domain uint8

const (
	slotDomain   domain = 1
	sourceDomain domain = 2
)

// The key of the tables spells "onevip tables v1" in memory order. It is no
// secret: nobody outside chooses what is hashed with it.
const (
	tableKey0 = 0x7420706976656e6f // "onevip t"
	tableKey1 = 0x31762073656c6261 // "ables v1"
)

// score is the weight of a node for one row of a table: highest random weight
// (Thaler and Ravishankar, 1998). SipHash-2-4 over domain, row (big-endian)
// and node id.
func score(d domain, row uint16, node topology.NodeID) uint64 {
	var in [4]byte
	in[0] = byte(d)
	binary.BigEndian.PutUint16(in[1:3], row)
	in[3] = byte(node)
	return siphash.Hash(tableKey0, tableKey1, in[:])
}

// weightedScore makes a node win a share of the rows that is proportional to
// its weight: -w/ln(u), u uniform in (0, 1) (Schindelhauer and Schomaker, 2005).
func weightedScore(d domain, row uint16, node topology.NodeID, weight uint16) float64 {
	u := (float64(score(d, row, node)>>11) + 0.5) / (1 << 53)
	return -float64(weight) / math.Log(u)
}

// members gives the valid ids in ascending order, each once, so that no table
// depends on the order in which nodes are listed.
func members(nodes []topology.NodeID) []topology.NodeID {
	out := slices.DeleteFunc(slices.Clone(nodes), func(id topology.NodeID) bool { return !id.Valid() })
	slices.Sort(out)
	return slices.Compact(out)
}

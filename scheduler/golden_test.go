// SPDX-License-Identifier: Apache-2.0

package scheduler

import "github.com/onevip/onevip/topology"

// The first rows of the tables of nodes 1..4.
var (
	goldenPrimary   = []topology.NodeID{2, 3, 1, 2, 3, 2, 3, 2, 4, 2, 2, 3, 4, 2, 2, 1}
	goldenSecondary = []topology.NodeID{1, 4, 2, 1, 1, 1, 1, 3, 3, 4, 4, 2, 2, 3, 3, 4}
)

// Computed apart from this package, from the text of the SipHash paper.
var goldenBuckets = map[string]uint16{
	"10.77.1.1":      114,
	"10.77.1.64":     171,
	"192.0.2.255":    422,
	"fd77::1:1":      102,
	"2001:db8::ffff": 774,
}

// Likewise.
var goldenKeys = map[string]uint64{
	"/":                           0xe0b5e06af24f40f2,
	"/index.html":                 0x93ef910c350d75b1,
	"/1234567":                    0x2442928ec2d73432,
	"/12345678":                   0x5f137e15d71e0e0a,
	"/images/2026/11/29/logo.png": 0x7f5856243c9cc05e,
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"time"

	"github.com/onevip/onevip/topology"
)

// Service is a service as the packet's way knows it.
type Service struct {
	ID     topology.ServiceID
	VIPs   []netip.Addr
	Port   uint16
	Policy topology.Policy
	// Replay: a request may run twice, so that a young connection of a failed owner may
	// be adopted even if its request had reached that one.
	Replay bool
	// Rules are for a Policy that inspects; others leave them zero.
	Rules Rules
}

// Rules say how the first request of a connection names its owner; see
// topology.LocalityRules. Shares and connections are per unit of weight.
type Rules struct {
	Key       topology.LocalityKey
	Low, High uint32
	Decay     time.Duration
	Bound     float64
	// Silent is how long a client may say nothing until its SYN/ACK is sent again, to
	// make it speak. Then it is reset, if Close, else given to the least loaded.
	Silent time.Duration
	Close  bool
}

// Load is one node that may be picked for a service. A node that must not be
// picked (unhealthy, draining, full, suspected) is not listed at all.
type Load struct {
	Node   topology.NodeID
	Weight uint16
	// Active is the number of its connections, as its heartbeat says.
	Active uint32
	// Settled is how many of the connections that this node assigned to it
	// (Assigned) are adopted or given up; Assigned - Settled is in flight.
	Settled uint64
	// Base is subtracted from Assigned where ties are broken by the share so
	// far, so that a node that returns does not catch up on what it missed.
	Base uint64
}

// Slot names who answers the SYNs of one slot.
type Slot struct {
	Primary, Secondary topology.NodeID
	// Former was the primary in the table before. It answers too until all live
	// agents have the new table; 0: nobody does.
	Former topology.NodeID
}

// Speculation is what a slot's secondary does about SYNs that its primary leaves
// unanswered.
type Speculation struct {
	// Off: nothing, as it is before SetSpeculation.
	Off bool
	// Delay is how long it waits before it answers; 0: it answers at once.
	Delay time.Duration
}

// CookieKeys are three SipHash-2-4 keys; Epoch numbers Current. A zero key is
// not accepted.
type CookieKeys struct {
	Epoch                   uint32
	Previous, Current, Next [16]byte
	// Lifetime is the longest that a cookie can be valid: two rotations.
	Lifetime time.Duration
}

// Self is what the programs must know of their own node.
type Self struct {
	ID          topology.NodeID
	WindowScale uint8 // 0..14
}

// Flow is a connection as its packets name it. Both addresses are of one IP
// version.
type Flow struct {
	Client, VIP netip.AddrPort
}

func (f Flow) String() string { return f.Client.String() + " to " + f.VIP.String() }

// Counts are per-service totals of this node since its programs were loaded.
type Counts struct {
	// Active connections now, as the kernel's sockets say.
	Active uint32
	// Adopted connections, by the primary of the slot at that time. Index: node id.
	Adopted [256]uint64
	// Assigned connections: how often this node, as a scheduler, named an
	// owner. Index: node id.
	Assigned [256]uint64
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/onevip/onevip/topology"
)

// Cookie marks a flow. Ours are
//
//	 63      48 47      32 31    24 23      8 7      0
//	+----------+----------+--------+---------+--------+
//	|   mark   |  round   |  kind  |   vip   |  node  |
//	+----------+----------+--------+---------+--------+
//
// so that `ovs-ofctl dump-flows br0 cookie=0x1e77000000000000/0xffff000000000000`
// lists them and nothing else. A flow with another mark is an operator's.
type Cookie uint64

const (
	cookieMark     Cookie = 0x1e77 << 48
	cookieMarkMask Cookie = 0xffff << 48
	cookieRound    Cookie = 0xffff << 32
)

// Kind says what a flow is for; for one that drops, why it drops.
type Kind uint8

// The kinds of flows. The numbers are in switches: only add.
const (
	KindContinue     Kind = iota + 1 // nothing to do here: the next table
	KindForgedARP                    // ARP in the name of a VIP: drop
	KindForgedND                     // neighbour discovery in the name of a VIP: drop
	KindForgedSource                 // a VIP as IP source from outside: drop
	KindForgedMAC                    // a member's or the cluster's MAC from elsewhere: drop
	KindForgedNode                   // node-to-node frame from outside: drop
	KindTrunk                        // from another switch, checked there
	KindMember                       // from a member, by its own MAC
	KindNode                         // node-to-node frame: to all members
	KindARP                          // ARP request for a VIP: answered
	KindND                           // neighbour solicitation for a VIP: to the Speaker
	KindForward                      // VIP packet from one member to another
	KindFlood                        // VIP packet: to all members
	KindNormal                       // ordinary switching
	KindFenced                       // to or from a fenced member: drop
	KindMirror                       // SYN/ACK from a VIP: a copy to all members
)

var kindNames = map[Kind]string{
	KindContinue: "continue", KindForgedARP: "forged-arp", KindForgedND: "forged-nd",
	KindForgedSource: "forged-source", KindForgedMAC: "forged-mac", KindForgedNode: "forged-node",
	KindTrunk: "trunk", KindMember: "member", KindNode: "node", KindARP: "arp", KindND: "nd",
	KindForward: "forward", KindFlood: "flood", KindNormal: "normal",
	KindFenced: "fenced", KindMirror: "mirror",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Drops tells whether flows of this kind drop packets.
func (k Kind) Drops() bool {
	return k >= KindForgedARP && k <= KindForgedNode || k == KindFenced
}

// newCookie marks a flow about a VIP and a node; either may be the zero value.
func newCookie(kind Kind, vip netip.Addr, node topology.NodeID) Cookie {
	return cookieMark | Cookie(kind)<<24 | Cookie(vipTag(vip))<<8 | Cookie(node)
}

// vipTag is 16 bits of a hash of the address: it stays the same while other
// VIPs come and go, so that their flows need not be written again.
func vipTag(vip netip.Addr) uint16 {
	if !vip.IsValid() {
		return 0
	}
	h := fnv.New32a()
	h.Write(vip.AsSlice()) // never fails
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

// Ours tells whether onevip has installed the flow.
func (c Cookie) Ours() bool { return c&cookieMarkMask == cookieMark }

// Round is the leader's term (its low 16 bits) in which the flow was written.
func (c Cookie) Round() uint16 { return uint16(c >> 32) }

// Kind says what the flow is for.
func (c Cookie) Kind() Kind { return Kind(c >> 24) }

// Node is the member that the flow is about, or 0.
func (c Cookie) Node() topology.NodeID { return topology.NodeID(c) }

// withRound stamps the term, and the mark, into the cookie.
func (c Cookie) withRound(round uint16) Cookie {
	return c&^(cookieRound|cookieMarkMask) | cookieMark | Cookie(round)<<32
}

// object is the cookie without the round: what stays the same from one leader
// to the next.
func (c Cookie) object() Cookie { return c &^ cookieRound }

func (c Cookie) String() string { return fmt.Sprintf("%#x", uint64(c)) }

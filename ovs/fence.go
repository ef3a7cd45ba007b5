// SPDX-License-Identifier: Apache-2.0

package ovs

import "net/netip"

// fence cuts the failed nodes off the clients, in both directions: one that
// still lives must neither answer them nor act on what they ask. Frames between
// nodes pass, so that it learns what has become of it.
func (b *builder) fence() {
	for _, m := range b.fenced {
		for _, vip := range b.vips {
			if m.port != 0 {
				b.fencePort(m, vip)
			}
			b.fenceMAC(m, vip)
		}
	}
}

// fencePort drops what comes from the node's port in the name of a VIP, and what
// it hands on for a VIP: its choice of an owner counts no more. The second has
// the lower priority, or the datapath would need a flow for each client of which
// it drops the first.
func (b *builder) fencePort(m localMember, vip netip.Addr) {
	port := fieldNumber(FieldInPort, uint64(m.port))
	cookie := newCookie(KindFenced, vip, m.ID)
	b.add(Flow{
		Table: Classify, Priority: classifyFence, Cookie: cookie,
		Match: newMatch(append(fromVIP(vip), port)...),
	})
	b.add(Flow{
		Table: Classify, Priority: classifyFence - 1, Cookie: cookie,
		Match: newMatch(append(toVIP(vip), port)...),
	})
}

// fenceMAC drops what a member addresses to the node for a VIP. Without this
// flow it would be flooded, and several could take it for theirs.
func (b *builder) fenceMAC(m localMember, vip netip.Addr) {
	if m.MAC.IsZero() {
		return
	}
	b.add(Flow{
		Table: Cluster, Priority: clusterForward,
		Cookie: newCookie(KindFenced, vip, m.ID),
		Match:  newMatch(append(toVIP(vip), fromInside(), fieldMAC(FieldEthDst, m.MAC))...),
	})
}

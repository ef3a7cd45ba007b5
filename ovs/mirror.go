// SPDX-License-Identifier: Apache-2.0

package ovs

import "net/netip"

// mirror gives the members a copy of each SYN/ACK from a VIP: who waits for the
// answer to a SYN sees it, whoever gave it. The packet itself goes on to its
// client.
//
// No other segment meets these flows. What a datapath flow looks at for their
// sake is the source, the protocol and two flags of what members send.
func (b *builder) mirror() {
	if !b.mirrors {
		return
	}
	for _, vip := range b.vips {
		b.add(Flow{
			Table: Cluster, Priority: clusterMirror,
			Cookie:  newCookie(KindMirror, vip, 0),
			Match:   newMatch(append(synACK(vip), fieldNumber(FieldReg0, inside|local))...),
			Actions: []Action{ToGroup{GroupFlood}},
			Goto:    Normal,
		})
		if len(b.trunks) > 0 {
			b.mirrorOn(vip)
		}
	}
}

// mirrorOn takes a copy from another switch to the members here and to the
// switches behind. It is known by the cluster MAC, to which nothing else is sent
// from a VIP; what is for a client carries the client's.
func (b *builder) mirrorOn(vip netip.Addr) {
	b.add(Flow{
		Table: Cluster, Priority: clusterMirror,
		Cookie: newCookie(KindMirror, vip, 0),
		Match: newMatch(append(synACK(vip), fieldNumber(FieldReg0, inside),
			fieldMAC(FieldEthDst, b.mac))...),
		Actions: []Action{ToGroup{GroupFlood}},
	})
}

// synACK matches SYN/ACKs with a VIP as source.
func synACK(vip netip.Addr) []Field {
	return append(fromVIP(vip), fieldNumber(FieldIPProto, protoTCP),
		fieldBits(FieldTCPFlags, tcpSYN|tcpACK, tcpSYN|tcpACK))
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import "net/netip"

const neighborAnswer uint16 = 900

// ARP operations (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// neighbor answers who asks for a VIP: ARP in the flow itself, neighbour
// solicitations by the Speaker (a flow can't compute their checksum). The
// question goes no further.
func (b *builder) neighbor() {
	for _, vip := range b.vips {
		if vip.Is4() {
			b.answerARP(vip)
		} else {
			b.askSpeaker(vip)
		}
	}
	b.otherwise(Neighbor)
}

// answerARP turns a request into the reply and sends it back. A probe (RFC
// 5227, sender address zero) gets the same: the VIP is defended.
func (b *builder) answerARP(vip netip.Addr) {
	b.add(Flow{
		Table: Neighbor, Priority: neighborAnswer,
		Cookie: newCookie(KindARP, vip, 0),
		Match: newMatch(fieldNumber(FieldEthType, etherARP),
			fieldNumber(FieldARPOp, arpRequest), fieldIP(FieldARPTpa, vip)),
		Actions: []Action{
			Move{FieldEthSrc, FieldEthDst},
			SetField{fieldMAC(FieldEthSrc, b.mac)},
			SetField{fieldNumber(FieldARPOp, arpReply)},
			Move{FieldARPSha, FieldARPTha},
			Move{FieldARPSpa, FieldARPTpa},
			SetField{fieldMAC(FieldARPSha, b.mac)},
			SetField{fieldIP(FieldARPSpa, vip)},
			Output{PortInPort},
		},
	})
}

// askSpeaker catches multicast and unicast solicitations alike. It does not
// match the hop limit (the Speaker checks it): every IPv6 megaflow would then
// carry one.
func (b *builder) askSpeaker(vip netip.Addr) {
	b.add(Flow{
		Table: Neighbor, Priority: neighborAnswer,
		Cookie:  newCookie(KindND, vip, 0),
		Match:   newMatch(append(nd(ndSolicitation), fieldIP(FieldNDTarget, vip))...),
		Actions: []Action{Output{PortController}},
	})
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import "net/netip"

// Priorities of Classify.
const (
	classifyNames  uint16 = 900 // nobody speaks ARP or ND for a VIP, not even members
	classifyNode   uint16 = 800 // frames between nodes
	classifyFence  uint16 = 700 // before a member is accepted
	classifyInside uint16 = 600 // members and trunks are what they say
	classifyForged uint16 = 500 // anybody else is not
)

// ICMPv6 types of neighbour discovery (RFC 4861, section 4).
const (
	ndSolicitation  = 135
	ndAdvertisement = 136
)

// classify is the spoof guard. A VIP as source, and a member's MAC, come only
// from the member's own port; ARP and ND in the name of a VIP only from the
// Speaker, whose frames do not pass the tables.
func (b *builder) classify() {
	b.guardNames()
	b.nodeFrames()
	b.fence()
	b.acceptInside()
	b.guardMACs()
	b.guardSources()
	b.otherwise(Classify)
}

// guardNames drops whatever could teach a client another MAC for a VIP.
// Members are no exception: one with a wrong arp_announce would take all of the
// client's packets.
func (b *builder) guardNames() {
	for _, vip := range b.vips {
		if vip.Is4() {
			b.drop(classifyNames, KindForgedARP, vip,
				fieldNumber(FieldEthType, etherARP), fieldIP(FieldARPSpa, vip))
			continue
		}
		b.drop(classifyNames, KindForgedND, vip, append(nd(ndAdvertisement), fieldIP(FieldNDTarget, vip))...)
		b.drop(classifyNames, KindForgedND, vip, append(nd(ndSolicitation), fieldIP(FieldIPv6Src, vip))...)
	}
}

// nodeFrames lets frames between nodes in from nodes only, and gives them to all
// of them. A fenced node is one.
func (b *builder) nodeFrames() {
	ether := fieldNumber(FieldEthType, EtherNode)
	for _, m := range b.nodes {
		b.add(Flow{
			Table: Classify, Priority: classifyNode,
			Cookie: newCookie(KindNode, netip.Addr{}, m.ID),
			Match: newMatch(fieldNumber(FieldInPort, uint64(m.port)),
				fieldMAC(FieldEthSrc, m.MAC), ether),
			Actions: []Action{ToGroup{GroupMembers}},
		})
	}
	for _, trunk := range b.trunks {
		b.add(Flow{
			Table: Classify, Priority: classifyNode,
			Cookie:  newCookie(KindNode, netip.Addr{}, 0),
			Match:   newMatch(fieldNumber(FieldInPort, uint64(trunk)), ether),
			Actions: []Action{ToGroup{GroupMembers}},
		})
	}
	b.add(Flow{
		Table: Classify, Priority: classifyNode - 1,
		Cookie: newCookie(KindForgedNode, netip.Addr{}, 0),
		Match:  newMatch(ether),
	})
}

// acceptInside marks what members send by their own port and MAC, and what
// other switches have checked.
func (b *builder) acceptInside() {
	mark := func(bits uint64) []Action { return []Action{SetField{fieldNumber(FieldReg0, bits)}} }
	for _, trunk := range b.trunks {
		b.add(Flow{
			Table: Classify, Priority: classifyInside,
			Cookie:  newCookie(KindTrunk, netip.Addr{}, 0),
			Match:   newMatch(fieldNumber(FieldInPort, uint64(trunk))),
			Actions: mark(inside), Goto: Neighbor,
		})
	}
	for _, m := range b.nodes {
		b.add(Flow{
			Table: Classify, Priority: classifyInside,
			Cookie:  newCookie(KindMember, netip.Addr{}, m.ID),
			Match:   newMatch(fieldNumber(FieldInPort, uint64(m.port)), fieldMAC(FieldEthSrc, m.MAC)),
			Actions: mark(inside | local), Goto: Neighbor,
		})
	}
}

// guardMACs drops members' MACs and the cluster's from anywhere else. A member
// whose port is missing is accepted nowhere.
func (b *builder) guardMACs() {
	for _, m := range b.macs {
		b.add(Flow{
			Table: Classify, Priority: classifyForged,
			Cookie: newCookie(KindForgedMAC, netip.Addr{}, m.ID),
			Match:  newMatch(fieldMAC(FieldEthSrc, m.MAC)),
		})
	}
	b.drop(classifyForged, KindForgedMAC, netip.Addr{}, fieldMAC(FieldEthSrc, b.mac))
}

func (b *builder) guardSources() {
	for _, vip := range b.vips {
		b.drop(classifyForged, KindForgedSource, vip, fromVIP(vip)...)
	}
}

func (b *builder) drop(priority uint16, kind Kind, vip netip.Addr, fields ...Field) {
	b.add(Flow{
		Table: Classify, Priority: priority,
		Cookie: newCookie(kind, vip, 0),
		Match:  newMatch(fields...),
	})
}

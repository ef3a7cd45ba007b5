// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/onevip/onevip/topology"
)

// Bits of reg0. Registers are not part of a packet, so they cost no datapath
// flows.
const (
	inside = 1 << 0 // a member or another switch sent the packet
	local  = 1 << 1 // a member of this switch did
)

// Build says with which flows and groups a bridge with these ports does what is
// intended. It is pure; equal arguments give equal pipelines.
//
// Which fields the flows match, and in which order, decides how many datapath
// flows (megaflows) the traffic makes, each of them born by an upcall. For a
// client's packet to a VIP nothing of layer 4 is looked at, and of its IP
// source only as many leading bits as tell it from the VIPs (given the prefix
// lookup that EnsureBridge switches on). With Intent.Mirror, a member's packets
// are also told apart by source, protocol, and the flags SYN and ACK.
func Build(intent Intent, ports []Port) Pipeline {
	b := newBuilder(intent, ports)
	b.classify()
	b.neighbor()
	b.cluster()
	b.normal()
	b.pipeline.sort()
	return b.pipeline
}

// builder is an Intent resolved against the ports of a bridge.
type builder struct {
	mac     topology.MAC
	vips    []netip.Addr // sorted, each once
	mirrors bool
	trunks  []uint32

	members []localMember // with a port here
	remote  []Member      // members known by MAC, without a port here
	fenced  []localMember // port 0: elsewhere
	nodes   []localMember // members and fenced with MAC and port here
	macs    []Member      // all with a MAC, here and elsewhere, fenced too

	pipeline Pipeline
	taken    map[place]bool
}

// localMember is a member with the number of its port on this bridge.
type localMember struct {
	Member
	port uint32
}

func newBuilder(intent Intent, ports []Port) *builder {
	numbers := make(map[string]uint32, len(ports))
	for _, p := range ports {
		numbers[p.Name] = p.Number
	}
	b := &builder{
		mac: intent.ClusterMAC, vips: distinct(intent.VIPs), mirrors: intent.Mirror,
		taken: make(map[place]bool),
	}
	members := slices.DeleteFunc(slices.Clone(intent.Members), intent.isFenced)
	for _, m := range sortedMembers(slices.Concat(members, intent.Fenced)) {
		b.addNode(localMember{m, numbers[m.Port]}, intent.isFenced(m))
	}
	for _, name := range intent.Trunks {
		if number, ok := numbers[name]; ok && !slices.Contains(b.trunks, number) {
			b.trunks = append(b.trunks, number)
		}
	}
	slices.Sort(b.trunks)
	return b
}

// addNode sorts a node into the lists. No port has the number 0.
func (b *builder) addNode(m localMember, fenced bool) {
	if fenced {
		b.fenced = append(b.fenced, m)
	}
	if m.MAC.IsZero() {
		return
	}
	b.macs = append(b.macs, m.Member)
	switch {
	case m.port == 0:
		if !fenced && m.Port == "" {
			b.remote = append(b.remote, m.Member)
		}
		return
	case !fenced:
		b.members = append(b.members, m)
	}
	// A node that failed twice is fenced under two ids.
	if !slices.ContainsFunc(b.nodes, func(n localMember) bool { return n.port == m.port }) {
		b.nodes = append(b.nodes, m)
	}
}

func sortedMembers(members []Member) []Member {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
	})
	return sorted
}

func distinct(addrs []netip.Addr) []netip.Addr {
	sorted := slices.Clone(addrs)
	slices.SortFunc(sorted, netip.Addr.Compare)
	return slices.Compact(sorted)
}

// add puts a flow at its place; of two flows for one place (two members with
// one MAC) the first stays.
func (b *builder) add(f Flow) {
	at := f.place()
	if b.taken[at] {
		return
	}
	b.taken[at] = true
	b.pipeline.Flows = append(b.pipeline.Flows, f)
}

func (b *builder) normal() {
	b.add(Flow{
		Table:   Normal,
		Cookie:  newCookie(KindNormal, netip.Addr{}, 0),
		Actions: []Action{Output{PortNormal}},
	})
}

// otherwise ends a table: what it has no flow for goes on to the next.
func (b *builder) otherwise(table Table) {
	b.add(Flow{Table: table, Cookie: newCookie(KindContinue, netip.Addr{}, 0), Goto: table + 1})
}

// toVIP matches IP packets for a VIP, whatever they carry.
func toVIP(vip netip.Addr) []Field {
	if vip.Is4() {
		return []Field{fieldNumber(FieldEthType, etherIPv4), fieldIP(FieldIPv4Dst, vip)}
	}
	return []Field{fieldNumber(FieldEthType, etherIPv6), fieldIP(FieldIPv6Dst, vip)}
}

// fromVIP matches IP packets with a VIP as source.
func fromVIP(vip netip.Addr) []Field {
	if vip.Is4() {
		return []Field{fieldNumber(FieldEthType, etherIPv4), fieldIP(FieldIPv4Src, vip)}
	}
	return []Field{fieldNumber(FieldEthType, etherIPv6), fieldIP(FieldIPv6Src, vip)}
}

// nd matches neighbour discovery messages of one ICMPv6 type (RFC 4861).
func nd(icmpType uint64) []Field {
	return []Field{
		fieldNumber(FieldEthType, etherIPv6), fieldNumber(FieldIPProto, protoICMPv6),
		fieldNumber(FieldICMPv6Type, icmpType), fieldNumber(FieldICMPv6Code, 0),
	}
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/ndp"

	"github.com/onevip/onevip/topology"
)

// NDReason is what became of a neighbour solicitation.
type NDReason string

// Answered, or why not. All checks but the target's are those of RFC 4861,
// section 7.1.1: a solicitation that fails one must be discarded.
const (
	NDAnswered    NDReason = "answered"
	NDMalformed   NDReason = "malformed"    // not a solicitation in IPv6 in Ethernet, or cut short
	NDHopLimit    NDReason = "hop-limit"    // not 255: it came from beyond a router
	NDChecksum    NDReason = "checksum"     // ICMPv6 checksum wrong
	NDSource      NDReason = "source"       // no unicast address, or a probe to a wrong group
	NDOption      NDReason = "option"       // a probe that names a link-layer address
	NDTarget      NDReason = "target"       // not a VIP
	NDRateLimited NDReason = "rate-limited" // its port has asked too often
	NDUnsent      NDReason = "unsent"       // the switch did not take the answer
)

// allNodes is the group that everybody is in: ff02::1 (RFC 4291, section 2.7.1).
var allNodes = netip.MustParseAddr("ff02::1")

// question is a valid neighbour solicitation.
type question struct {
	ether  layers.Ethernet
	vlan   *layers.Dot1Q // nil: untagged
	source netip.Addr    // unspecified: duplicate address detection (RFC 4862)
	target netip.Addr
}

// answerND gives the frame that answers a neighbour solicitation for one of the
// VIPs, to be sent out of the port that it came from. It is pure.
func answerND(frame []byte, mac topology.MAC, vips []netip.Addr) ([]byte, NDReason) {
	q, reason := parseND(frame)
	if reason != "" {
		return nil, reason
	}
	if !slices.Contains(vips, q.target) {
		return nil, NDTarget
	}
	answer, err := q.answer(mac)
	if err != nil {
		return nil, NDMalformed
	}
	return answer, NDAnswered
}

// parseND takes a frame apart; the reason is empty if all is well.
func parseND(frame []byte) (question, NDReason) {
	var q question
	packet, err := q.parseEthernet(frame)
	if err != nil {
		return q, NDMalformed
	}
	var ip layers.IPv6
	const nextHeader, fixedHeader = 6, 40
	if len(packet) < fixedHeader || packet[nextHeader] != protoICMPv6 {
		return q, NDMalformed
	}
	if err := ip.DecodeFromBytes(packet, gopacket.NilDecodeFeedback); err != nil ||
		ip.Version != 6 || int(ip.Length) != len(ip.Payload) {
		return q, NDMalformed
	}
	if ip.HopLimit != 255 {
		return q, NDHopLimit
	}
	if !checksumOK(ip) {
		return q, NDChecksum
	}
	return q, q.parseICMP(ip)
}

// parseEthernet gives the IPv6 packet in an Ethernet frame with at most one tag.
func (q *question) parseEthernet(frame []byte) ([]byte, error) {
	if err := q.ether.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil {
		return nil, err
	}
	kind, packet := q.ether.EthernetType, q.ether.Payload
	if kind == layers.EthernetTypeDot1Q {
		q.vlan = new(layers.Dot1Q)
		if err := q.vlan.DecodeFromBytes(packet, gopacket.NilDecodeFeedback); err != nil {
			return nil, err
		}
		kind, packet = q.vlan.Type, q.vlan.Payload
	}
	if kind != layers.EthernetTypeIPv6 {
		return nil, errors.New("not IPv6")
	}
	return packet, nil
}

func (q *question) parseICMP(ip layers.IPv6) NDReason {
	const code = 1
	parsed, err := ndp.ParseMessage(ip.Payload)
	ns, ok := parsed.(*ndp.NeighborSolicitation)
	if err != nil || !ok || ip.Payload[code] != 0 || ns.TargetAddress.IsMulticast() {
		return NDMalformed
	}
	q.target = ns.TargetAddress
	q.source, _ = netip.AddrFromSlice(ip.SrcIP)
	if q.source.IsMulticast() || q.source == q.target {
		return NDSource
	}
	if !q.source.IsUnspecified() {
		return ""
	}
	return q.checkProbe(ip, ns)
}

// checkProbe checks what RFC 4861 demands of a solicitation without a source.
func (q *question) checkProbe(ip layers.IPv6, ns *ndp.NeighborSolicitation) NDReason {
	group, err := ndp.SolicitedNodeMulticast(q.target)
	to, _ := netip.AddrFromSlice(ip.DstIP)
	if err != nil || to != group {
		return NDSource
	}
	for _, option := range ns.Options {
		if _, ok := option.(*ndp.LinkLayerAddress); ok {
			return NDOption
		}
	}
	return ""
}

// checksumOK verifies the ICMPv6 checksum (RFC 4443, section 2.3).
func checksumOK(ip layers.IPv6) bool {
	pseudo := slices.Concat([]byte(ip.SrcIP), []byte(ip.DstIP), []byte{
		0, 0, byte(ip.Length >> 8), byte(ip.Length), 0, 0, 0, protoICMPv6})
	sum := gopacket.ComputeChecksum(pseudo, 0)
	return gopacket.FoldChecksum(gopacket.ComputeChecksum(ip.Payload, sum)) == 0
}

// answer makes the advertisement (RFC 4861, section 7.2.4). A probe is answered
// to all nodes, so that the prober learns that the address is taken.
func (q *question) answer(mac topology.MAC) ([]byte, error) {
	to, toMAC, solicited := q.source, q.ether.SrcMAC, true
	if q.source.IsUnspecified() {
		to, toMAC, solicited = allNodes, multicastMAC(allNodes), false
	}
	return advertisement{
		mac: mac, vip: q.target, solicited: solicited, to: to, toMAC: toMAC, vlan: q.vlan,
	}.frame()
}

// advertisement is a neighbour advertisement for a VIP (RFC 4861, section 4.4).
// A VIP is no router, and the cluster MAC overrides whatever was known.
type advertisement struct {
	mac       topology.MAC
	vip       netip.Addr
	solicited bool
	to        netip.Addr
	toMAC     net.HardwareAddr
	vlan      *layers.Dot1Q
}

func (a advertisement) frame() ([]byte, error) {
	icmp, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Solicited:     a.solicited,
		Override:      true,
		TargetAddress: a.vip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: a.mac[:]}},
	}, a.vip, a.to)
	if err != nil {
		return nil, err
	}
	ether := &layers.Ethernet{SrcMAC: a.mac[:], DstMAC: a.toMAC, EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{
		Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255,
		SrcIP: a.vip.AsSlice(), DstIP: a.to.AsSlice(),
	}
	if a.vlan == nil {
		return serialise(ether, ip, gopacket.Payload(icmp))
	}
	ether.EthernetType = layers.EthernetTypeDot1Q
	return serialise(ether, a.vlan, ip, gopacket.Payload(icmp))
}

// multicastMAC maps an IPv6 group to its MAC (RFC 2464, section 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

func serialise(parts ...gopacket.SerializableLayer) ([]byte, error) {
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, parts...)
	return buffer.Bytes(), err
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/onevip/onevip/topology"
)

// FieldID names a packet field: class (16 bits) and field (7 bits) of its OXM
// header, at their places (OpenFlow 1.3, section 7.2.3.2), mask bit and length zero.
type FieldID uint32

const (
	classNXM0 = 0x0000 << 16 // Nicira's, from OpenFlow 1.0 times
	classNXM1 = 0x0001 << 16
	classOXM  = 0x8000 << 16

	classExperimenter = 0xffff << 16
)

// The fields that onevip's flows use, and a few that an operator's are likely to.
const (
	FieldReg0       FieldID = classNXM1 | 0<<9
	FieldTTL        FieldID = classNXM1 | 29<<9
	FieldTCPFlags   FieldID = classNXM1 | 34<<9
	FieldInPort     FieldID = classOXM | 0<<9
	FieldEthDst     FieldID = classOXM | 3<<9
	FieldEthSrc     FieldID = classOXM | 4<<9
	FieldEthType    FieldID = classOXM | 5<<9
	FieldIPProto    FieldID = classOXM | 10<<9
	FieldIPv4Src    FieldID = classOXM | 11<<9
	FieldIPv4Dst    FieldID = classOXM | 12<<9
	FieldTCPSrc     FieldID = classOXM | 13<<9
	FieldTCPDst     FieldID = classOXM | 14<<9
	FieldUDPSrc     FieldID = classOXM | 15<<9
	FieldUDPDst     FieldID = classOXM | 16<<9
	FieldICMPType   FieldID = classOXM | 19<<9
	FieldICMPCode   FieldID = classOXM | 20<<9
	FieldARPOp      FieldID = classOXM | 21<<9
	FieldARPSpa     FieldID = classOXM | 22<<9
	FieldARPTpa     FieldID = classOXM | 23<<9
	FieldARPSha     FieldID = classOXM | 24<<9
	FieldARPTha     FieldID = classOXM | 25<<9
	FieldIPv6Src    FieldID = classOXM | 26<<9
	FieldIPv6Dst    FieldID = classOXM | 27<<9
	FieldICMPv6Type FieldID = classOXM | 29<<9
	FieldICMPv6Code FieldID = classOXM | 30<<9
	FieldNDTarget   FieldID = classOXM | 31<<9
)

// fieldInfo describes a field. The order of the list is the order in which
// ovs-ofctl prints fields, which also puts each after its prerequisites.
type fieldInfo struct {
	id     FieldID
	width  int    // bytes
	match  string // name in a match
	set    string // name in set_field
	nxm    string // name in move
	format func(value string) string
}

var fieldList = []fieldInfo{
	{FieldReg0, 4, "reg0", "reg0", "NXM_NX_REG0", formatHex},
	{FieldInPort, 4, "in_port", "in_port_oxm", "OXM_OF_IN_PORT", formatDecimal},
	{FieldEthSrc, 6, "dl_src", "eth_src", "NXM_OF_ETH_SRC", formatMAC},
	{FieldEthDst, 6, "dl_dst", "eth_dst", "NXM_OF_ETH_DST", formatMAC},
	{FieldEthType, 2, "dl_type", "eth_type", "NXM_OF_ETH_TYPE", formatEtherType},
	{FieldIPv4Src, 4, "nw_src", "ip_src", "NXM_OF_IP_SRC", formatIP},
	{FieldIPv4Dst, 4, "nw_dst", "ip_dst", "NXM_OF_IP_DST", formatIP},
	{FieldIPv6Src, 16, "ipv6_src", "ipv6_src", "NXM_NX_IPV6_SRC", formatIP},
	{FieldIPv6Dst, 16, "ipv6_dst", "ipv6_dst", "NXM_NX_IPV6_DST", formatIP},
	{FieldARPSpa, 4, "arp_spa", "arp_spa", "NXM_OF_ARP_SPA", formatIP},
	{FieldARPTpa, 4, "arp_tpa", "arp_tpa", "NXM_OF_ARP_TPA", formatIP},
	{FieldIPProto, 1, "nw_proto", "ip_proto", "NXM_OF_IP_PROTO", formatDecimal},
	{FieldARPOp, 2, "arp_op", "arp_op", "NXM_OF_ARP_OP", formatDecimal},
	{FieldARPSha, 6, "arp_sha", "arp_sha", "NXM_NX_ARP_SHA", formatMAC},
	{FieldARPTha, 6, "arp_tha", "arp_tha", "NXM_NX_ARP_THA", formatMAC},
	{FieldTTL, 1, "nw_ttl", "nw_ttl", "NXM_NX_IP_TTL", formatDecimal},
	{FieldICMPType, 1, "icmp_type", "icmp_type", "NXM_OF_ICMP_TYPE", formatDecimal},
	{FieldICMPCode, 1, "icmp_code", "icmp_code", "NXM_OF_ICMP_CODE", formatDecimal},
	{FieldICMPv6Type, 1, "icmp_type", "icmpv6_type", "NXM_NX_ICMPV6_TYPE", formatDecimal},
	{FieldICMPv6Code, 1, "icmp_code", "icmpv6_code", "NXM_NX_ICMPV6_CODE", formatDecimal},
	{FieldNDTarget, 16, "nd_target", "nd_target", "NXM_NX_ND_TARGET", formatIP},
	{FieldTCPSrc, 2, "tp_src", "tcp_src", "NXM_OF_TCP_SRC", formatDecimal},
	{FieldTCPDst, 2, "tp_dst", "tcp_dst", "NXM_OF_TCP_DST", formatDecimal},
	{FieldUDPSrc, 2, "tp_src", "udp_src", "NXM_OF_UDP_SRC", formatDecimal},
	{FieldUDPDst, 2, "tp_dst", "udp_dst", "NXM_OF_UDP_DST", formatDecimal},
	{FieldTCPFlags, 2, "tcp_flags", "tcp_flags", "NXM_NX_TCP_FLAGS", formatHex},
}

// nxmAliases are the older headers of fields that have an OXM header too. A
// switch may answer with either.
var nxmAliases = map[FieldID]FieldID{
	classNXM0 | 1<<9:  FieldEthDst,
	classNXM0 | 2<<9:  FieldEthSrc,
	classNXM0 | 3<<9:  FieldEthType,
	classNXM0 | 6<<9:  FieldIPProto,
	classNXM0 | 7<<9:  FieldIPv4Src,
	classNXM0 | 8<<9:  FieldIPv4Dst,
	classNXM0 | 15<<9: FieldARPOp,
	classNXM0 | 16<<9: FieldARPSpa,
	classNXM0 | 17<<9: FieldARPTpa,
	classNXM1 | 17<<9: FieldARPSha,
	classNXM1 | 18<<9: FieldARPTha,
	classNXM1 | 19<<9: FieldIPv6Src,
	classNXM1 | 20<<9: FieldIPv6Dst,
	classNXM1 | 21<<9: FieldICMPv6Type,
	classNXM1 | 22<<9: FieldICMPv6Code,
	classNXM1 | 23<<9: FieldNDTarget,
}

// fieldOrder is the place of a known field in fieldList.
var fieldOrder = func() map[FieldID]int {
	order := make(map[FieldID]int, len(fieldList))
	for i, info := range fieldList {
		order[info.id] = i
	}
	return order
}()

// info describes a field; false for one that onevip does not know.
func (id FieldID) info() (fieldInfo, bool) {
	i, ok := fieldOrder[id]
	if !ok {
		return fieldInfo{}, false
	}
	return fieldList[i], true
}

// canonical gives the OXM header of a field that has two.
func (id FieldID) canonical() FieldID {
	if oxm, ok := nxmAliases[id]; ok {
		return oxm
	}
	return id
}

// less orders fields as ovs-ofctl prints them; unknown ones come last.
func (id FieldID) less(other FieldID) bool {
	i, known := fieldOrder[id]
	j, otherKnown := fieldOrder[other]
	if known && otherKnown {
		return i < j
	}
	if known != otherKnown {
		return known
	}
	return id < other
}

// Field is a packet field with a value, big-endian bytes kept in strings so
// that fields can be compared. An empty Mask means all bits.
type Field struct {
	ID          FieldID
	Value, Mask string
}

func fieldNumber(id FieldID, n uint64) Field {
	info, _ := id.info()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return Field{ID: id, Value: string(b[8-info.width:])}
}

// fieldBits matches some bits of a number.
func fieldBits(id FieldID, n, mask uint64) Field {
	return Field{ID: id, Value: fieldNumber(id, n).Value, Mask: fieldNumber(id, mask).Value}
}

func fieldMAC(id FieldID, mac topology.MAC) Field { return Field{ID: id, Value: string(mac[:])} }

func fieldIP(id FieldID, ip netip.Addr) Field { return Field{ID: id, Value: string(ip.AsSlice())} }

// number reads a value of at most 8 bytes.
func (f Field) number() uint64 {
	var n uint64
	for _, b := range []byte(f.Value) {
		n = n<<8 | uint64(b)
	}
	return n
}

// valueText is the value, and the mask if there is one, without the name.
func (f Field) valueText(n names) string {
	info, ok := f.ID.info()
	if !ok {
		return fmt.Sprintf("0x%x", f.Value) + maskText(f.Mask, formatBytes)
	}
	switch {
	case f.ID == FieldInPort:
		return n.port(uint32(f.number()))
	case f.ID == FieldTCPFlags && f.Mask != "":
		return flagsText(f.number(), Field{Value: f.Mask}.number())
	}
	return info.format(f.Value) + maskText(f.Mask, info.format)
}

// matchText is name=value as in a match.
func (f Field) matchText(n names) string {
	if info, ok := f.ID.info(); ok {
		return info.match + "=" + f.valueText(n)
	}
	return fmt.Sprintf("oxm_%#x=%s", uint32(f.ID), f.valueText(n))
}

func maskText(mask string, format func(string) string) string {
	if mask == "" {
		return ""
	}
	if bits, ok := prefixLength(mask); ok && len(mask) != 6 && len(mask) > 2 {
		return fmt.Sprintf("/%d", bits)
	}
	return "/" + format(mask)
}

// prefixLength tells how many leading bits a mask has, if it has no others.
func prefixLength(mask string) (int, bool) {
	bits, ended := 0, false
	for i := range len(mask) * 8 {
		set := mask[i/8]>>(7-i%8)&1 == 1
		if set && ended {
			return 0, false
		}
		if set {
			bits++
		}
		ended = !set
	}
	return bits, true
}

func formatHex(v string) string       { return fmt.Sprintf("%#x", Field{Value: v}.number()) }
func formatDecimal(v string) string   { return fmt.Sprint(Field{Value: v}.number()) }
func formatEtherType(v string) string { return fmt.Sprintf("0x%04x", Field{Value: v}.number()) }
func formatBytes(v string) string     { return fmt.Sprintf("0x%x", v) }

func formatMAC(v string) string {
	var mac topology.MAC
	copy(mac[:], v)
	return mac.String()
}

func formatIP(v string) string {
	addr, ok := netip.AddrFromSlice([]byte(v))
	if !ok {
		return formatBytes(v)
	}
	return addr.String()
}

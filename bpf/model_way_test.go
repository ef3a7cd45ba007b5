// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// way is the packet's way told once more in plain Go, for a node whose only
// sockets are listeners and those in live: the oracle of the random tests.
type way struct {
	self      topology.NodeID
	vips      []netip.Addr
	services  []uint16 // ports, each with nodes to pick
	listeners []uint16
	primary   func(client, vip netip.AddrPort) topology.NodeID
	keys      CookieKeys
	live      map[[2]netip.AddrPort]bool // client, vip
	// records are of the SYNs without timestamps that the node has seen.
	records map[record]cookie

	inspected []uint16 // ports of services whose requests name their owner: always another
	member    topology.NodeID
	memberMAC topology.MAC
	selfMAC   topology.MAC
	decisions map[[2]netip.AddrPort]decision
	addresses []byte // of the frame at hand
}

// decision is what an inspector remembers of a tuple.
type decision struct {
	isn        uint32
	ours       bool
	superseded bool
}

type record struct {
	client, vip netip.AddrPort
	isn         uint32
}

var be = binary.BigEndian

// reason says why a frame leaves the program.
func (w *way) reason(frame []byte) Reason {
	w.addresses = frame[:12]
	switch packet := frame[14:]; layers.EthernetType(be.Uint16(frame[12:])) {
	case layers.EthernetTypeIPv4:
		return w.v4(packet)
	case layers.EthernetTypeIPv6:
		return w.v6(packet)
	}
	return ReasonNotVIP
}

func (w *way) isVIP(a netip.Addr) bool { return slices.Contains(w.vips, a) }

func addressOf(raw []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(raw)
	return a
}

func (w *way) v4(p []byte) Reason {
	if len(p) < 20 || p[0]>>4 != 4 {
		return ReasonNotVIP
	}
	if !w.isVIP(addressOf(p[16:20])) {
		plain := p[0]&15 == 5 && p[9] == 6 && be.Uint16(p[6:])&0x3fff == 0
		return w.elsewhere(plain && w.isVIP(addressOf(p[12:16])), p[20:])
	}
	total := int(be.Uint16(p[2:]))
	switch header := p[0] & 15; {
	case header < 5:
		return ReasonBadIPHeader
	case header > 5:
		return ReasonIPOptions
	case be.Uint16(p[6:])&0x3fff != 0: // more fragments, or an offset
		return ReasonFragment
	case w.isVIP(addressOf(p[12:16])):
		return ReasonLand
	case total < 20 || total > len(p):
		return ReasonBadIPHeader
	}
	return w.transport(p[9], addressOf(p[12:16]), addressOf(p[16:20]), p[20:total])
}

func (w *way) v6(p []byte) Reason {
	if len(p) < 40 || p[0]>>4 != 6 {
		return ReasonNotVIP
	}
	if !w.isVIP(addressOf(p[24:40])) {
		return w.elsewhere(p[6] == 6 && w.isVIP(addressOf(p[8:24])), p[40:])
	}
	total := 40 + int(be.Uint16(p[4:]))
	switch {
	case w.isVIP(addressOf(p[8:24])):
		return ReasonLand
	case total > len(p):
		return ReasonBadIPHeader
	}
	return w.transport(p[6], addressOf(p[8:24]), addressOf(p[24:40]), p[40:total])
}

// elsewhere is a packet that is not for a VIP. p begins behind the IP header; tcp
// says that it is a segment from a VIP.
func (w *way) elsewhere(tcp bool, p []byte) Reason {
	const synAck = 2 | 16
	if tcp && len(p) >= 20 && p[13]&synAck == synAck {
		return ReasonMirrored
	}
	return ReasonNotVIP
}

// extensionHeaders are those of RFC 8200 and RFC 6275.
var extensionHeaders = []uint8{0, 43, 44, 51, 60, 135}

func (w *way) transport(proto uint8, client, vip netip.Addr, p []byte) Reason {
	v6 := vip.Is6()
	switch {
	case w.self == 0:
		return ReasonNotReady
	case proto == 6:
		return w.tcp(client, vip, p)
	case proto == 1 && !v6, proto == 58 && v6:
		return w.icmp(client, vip, p)
	case v6 && slices.Contains(extensionHeaders, proto):
		return ReasonExtHeader
	}
	return ReasonNotTCP
}

// icmpKind is what an ICMP type means to us.
func icmpKind(v6 bool, kind uint8) Reason {
	switch {
	case v6 && kind == 128, !v6 && kind == 8:
		return ReasonEcho
	case v6 && kind >= 133 && kind <= 137:
		return ReasonNeighbor
	case v6 && kind >= 1 && kind <= 4, !v6 && (kind == 3 || kind == 11 || kind == 12):
		return ReasonOwnICMPError
	}
	return ReasonICMPOther
}

func (w *way) icmp(client, vip netip.Addr, p []byte) Reason {
	if len(p) < 8 {
		return ReasonTruncated
	}
	switch kind := icmpKind(vip.Is6(), p[0]); kind {
	case ReasonEcho:
		if w.primary(netip.AddrPortFrom(client, 0), netip.AddrPortFrom(vip, 0)) != w.self {
			return ReasonForeignICMP
		}
		return ReasonEcho
	case ReasonOwnICMPError:
		return w.quoted(vip.Is6(), p[8:])
	default:
		return kind
	}
}

// quoted is the packet inside an ICMP error: one that a VIP has sent.
func (w *way) quoted(v6 bool, p []byte) Reason {
	header := 20
	if v6 {
		header = 40
	}
	if len(p) < header+4 {
		return ReasonTruncated
	}
	ports := p[header:]
	var from, to netip.AddrPort
	switch {
	case v6 && p[0]>>4 == 6 && p[6] == 6:
		from, to = addrPort(p[8:24], ports), addrPort(p[24:40], ports[2:])
	case !v6 && p[0] == 0x45 && p[9] == 6:
		from, to = addrPort(p[12:16], ports), addrPort(p[16:20], ports[2:])
	default:
		return ReasonICMPOther
	}
	if w.live[[2]netip.AddrPort{to, from}] {
		return ReasonOwnICMPError
	}
	return ReasonForeignICMP
}

func addrPort(addr, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(addressOf(addr), be.Uint16(port))
}

func (w *way) tcp(client, vip netip.Addr, p []byte) Reason {
	if len(p) < 20 {
		return ReasonTruncated
	}
	header, flags := int(p[12]>>4)*4, p[13]
	fin, syn, rst, ack := flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&16 != 0
	switch {
	case header < 20 || header > len(p):
		return ReasonBadTCPHeader
	case syn && (fin || rst), !syn && !ack && !rst:
		return ReasonBadTCPFlags
	}
	s := tcpSegment{
		client: addrPort(client.AsSlice(), p), vip: addrPort(vip.AsSlice(), p[2:]),
		seq: be.Uint32(p[4:]), ack: be.Uint32(p[8:]), options: p[20:header],
		ecnSetup: flags&0xc0 == 0xc0, asks: len(p) > header || fin, urgent: flags&0x20 != 0,
	}
	if !rst && ack && w.isHanded(s) && !w.live[[2]netip.AddrPort{s.client, s.vip}] {
		return w.fromInspector(s, p, syn)
	}
	switch {
	case syn && !ack:
		return w.syn(s)
	case w.live[[2]netip.AddrPort{s.client, s.vip}]:
		return ReasonOwn
	case syn || rst || !ack:
		return ReasonForeign
	}
	return w.unowned(s)
}

// tcpSegment is what counts of one after its header was found sound.
type tcpSegment struct {
	client, vip netip.AddrPort
	seq, ack    uint32
	options     []byte
	ecnSetup    bool
	asks        bool // data, or a FIN
	urgent      bool
}

func (w *way) syn(s tcpSegment) Reason {
	primary := w.primary(s.client, s.vip) == w.self
	if !slices.Contains(w.services, s.vip.Port()) {
		if primary {
			return ReasonRefusedNoService
		}
		return ReasonNotPrimary
	}
	o, ok := readOptions(s.options)
	if !ok {
		return ReasonBadTCPOptions
	}
	if !o.timestamps {
		w.records[record{s.client, s.vip, s.seq}] = cookie{wscale: o.scale(), sack: o.sack, ecn: s.ecnSetup}
	}
	if primary && slices.Contains(w.inspected, s.vip.Port()) {
		w.supersede(s)
	}
	switch {
	case !primary:
		return ReasonNotPrimary
	case w.keys.Current == [16]byte{}:
		return ReasonNotReady
	}
	return ReasonAnswered
}

// unowned is a segment that may finish a handshake.
func (w *way) unowned(s tcpSegment) Reason {
	if topology.NodeID((s.ack-1)>>24) != w.self || w.isGivenAway(s, false) {
		return ReasonForeign
	}
	reason, inspect := w.cookie(s)
	switch {
	case (reason == ReasonCookieMismatch || reason == ReasonCookieNoRecord) && w.isGivenAway(s, true):
		return ReasonForeign
	case reason != ReasonAdopted:
		return reason
	case inspect:
		return w.inspect(s)
	}
	return w.adopt(s)
}

// adopt is a segment that is to become a socket.
func (w *way) adopt(s tcpSegment) Reason {
	if slices.Contains(w.listeners, s.vip.Port()) {
		return ReasonAdoptRefused // what the kfunc says to any test run
	}
	return ReasonResetNoListener
}

// cookie is ReasonAdopted for a valid one, else why it is not; and whether it names an
// inspector.
func (w *way) cookie(s tcpSegment) (reason Reason, inspect bool) {
	isn := s.ack - 1
	o, ok := readOptions(s.options)
	if !ok {
		return ReasonBadTCPOptions, false
	}
	epoch, key := w.keyOf(isn >> 19 & 3)
	if key == [16]byte{} {
		return ReasonCookieExpired, false
	}
	c := cookie{
		client: s.client, vip: s.vip, clientISN: s.seq - 1, epoch: epoch, owner: topology.NodeID(isn >> 24),
		mssIndex: uint8(isn >> 21 & 7), timestamps: o.timestamps,
		wscale: uint8(o.tsecr & 15), sack: o.tsecr>>4&1 != 0, ecn: o.tsecr>>5&1 != 0,
	}
	if !o.timestamps {
		seen, ok := w.records[record{s.client, s.vip, s.seq - 1}]
		if !ok {
			return ReasonCookieNoRecord, false
		}
		c.wscale, c.sack, c.ecn = seen.wscale, seen.sack, seen.ecn
	}
	for _, c.inspect = range []bool{false, true} {
		if c.isn(key) == isn && (!o.timestamps || c.tsval(key) == o.tsecr) {
			return ReasonAdopted, c.inspect
		}
	}
	return ReasonCookieMismatch, false
}

// keyOf finds the key by the low two bits of its epoch.
func (w *way) keyOf(bits uint32) (epoch uint32, key [16]byte) {
	for i, key := range [][16]byte{w.keys.Previous, w.keys.Current, w.keys.Next} {
		if epoch := w.keys.Epoch + uint32(i) - 1; epoch&3 == bits {
			return epoch, key
		}
	}
	return 0, [16]byte{}
}

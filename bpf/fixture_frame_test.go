// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// family is the cast of one IP version.
type family struct {
	name        string
	client, vip netip.Addr
}

var families = []family{{"IPv4", client4, vip4}, {"IPv6", client6, vip6}}

// clientPort is that of most frames.
const clientPort = 40001

func (f family) from() netip.AddrPort { return netip.AddrPortFrom(f.client, clientPort) }

func (f family) to(port uint16) netip.AddrPort { return netip.AddrPortFrom(f.vip, port) }

// l4 is where the TCP or ICMP header begins.
func (f family) l4() int {
	if f.vip.Is4() {
		return 14 + 20
	}
	return 14 + 40
}

// envelope is all of a frame around its transport header.
type envelope struct {
	from, to       netip.Addr
	fromMAC, toMAC net.HardwareAddr
	ttl            uint8
	dontFragment   bool
}

// inbound is what a client's frame looks like at a node.
func inbound(from, to netip.Addr) envelope {
	return envelope{from: from, to: to, fromMAC: clientMAC, toMAC: clusterMAC, ttl: 61}
}

// ip gives the Ethernet and IP headers.
func (e envelope) ip(proto layers.IPProtocol) (layers.Ethernet, gopacket.NetworkLayer, gopacket.SerializableLayer) {
	eth := layers.Ethernet{SrcMAC: e.fromMAC, DstMAC: e.toMAC, EthernetType: layers.EthernetTypeIPv4}
	if e.to.Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: e.ttl, NextHeader: proto, SrcIP: e.from.AsSlice(), DstIP: e.to.AsSlice()}
		return eth, ip, ip
	}
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: e.ttl, Protocol: proto, SrcIP: e.from.AsSlice(), DstIP: e.to.AsSlice()}
	if e.dontFragment {
		ip.Flags = layers.IPv4DontFragment
	}
	return eth, ip, ip
}

// tcp makes a frame with all lengths and checksums right.
func (e envelope) tcp(tcp layers.TCP, payload []byte) []byte {
	eth, network, ip := e.ip(layers.IPProtocolTCP)
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	return serialize(&eth, ip, &tcp, gopacket.Payload(payload))
}

// raw makes a frame whose transport part is these bytes.
func (e envelope) raw(proto layers.IPProtocol, payload []byte) []byte {
	eth, _, ip := e.ip(proto)
	return serialize(&eth, ip, gopacket.Payload(payload))
}

// serialize leaves out the padding that gopacket gives short Ethernet frames.
func serialize(eth *layers.Ethernet, rest ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, rest...); err != nil {
		panic(err)
	}
	size := 14 + len(buf.Bytes())
	if err := eth.SerializeTo(buf, opts); err != nil {
		panic(err)
	}
	return buf.Bytes()[:size]
}

// fixLengths makes the IP header's length agree with the frame's.
func (f family) fixLengths(frame []byte) []byte {
	if f.vip.Is4() {
		binary.BigEndian.PutUint16(frame[16:], uint16(len(frame)-14))
	} else {
		binary.BigEndian.PutUint16(frame[18:], uint16(len(frame)-54))
	}
	return frame
}

// segment is a client's frame to the VIP; the ports of tcp are filled in.
func (f family) segment(port uint16, tcp layers.TCP) []byte {
	tcp.SrcPort, tcp.DstPort = clientPort, layers.TCPPort(port)
	tcp.Window = 501
	return inbound(f.client, f.vip).tcp(tcp, nil)
}

// answer is a node's frame to the client, as the program writes it: from the
// MAC that the client's frame was for.
func (f family) answer(port uint16, tcp layers.TCP) []byte {
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(port), clientPort
	e := envelope{from: f.vip, to: f.client, fromMAC: clusterMAC, toMAC: clientMAC, ttl: 64, dontFragment: true}
	return e.tcp(tcp, nil)
}

// mirrored is another member's frame to the client, as the switch copies it to us.
func (f family) mirrored(port uint16, tcp layers.TCP) []byte {
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(port), clientPort
	e := envelope{from: f.vip, to: f.client, fromMAC: net.HardwareAddr(otherMAC[:]), toMAC: clusterMAC, ttl: 64, dontFragment: true}
	return e.tcp(tcp, nil)
}

// raised is a frame that the program made out of the client's for the stack.
func (f family) raised(port uint16, tcp layers.TCP) []byte {
	tcp.SrcPort, tcp.DstPort = clientPort, layers.TCPPort(port)
	e := inbound(f.client, f.vip)
	e.ttl, e.dontFragment = 64, true
	return e.tcp(tcp, nil)
}

// expectFrame compares bytes, so checksums too, and shows fields.
func expectFrame(t testing.TB, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	hide := cmpopts.IgnoreUnexported(layers.TCP{}, layers.IPv4{}, layers.IPv6{})
	t.Fatalf("frame (-want +got):\n%s\nwant %x\ngot  %x", cmp.Diff(decoded(want), decoded(got), hide), want, got)
}

func decoded(frame []byte) []gopacket.Layer {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	return p.Layers()
}

// The options that segments have.

func option(kind layers.TCPOptionKind, data ...byte) layers.TCPOption {
	return layers.TCPOption{OptionType: kind, OptionLength: uint8(len(data) + 2), OptionData: data}
}

var nop = layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}

func optionMSS(mss uint16) layers.TCPOption {
	return option(layers.TCPOptionKindMSS, byte(mss>>8), byte(mss))
}

func optionScale(shift uint8) layers.TCPOption {
	return option(layers.TCPOptionKindWindowScale, shift)
}

func optionSACK() layers.TCPOption { return option(layers.TCPOptionKindSACKPermitted) }

func optionTimestamps(value, echo uint32) layers.TCPOption {
	data := binary.BigEndian.AppendUint32(nil, value)
	return option(layers.TCPOptionKindTimestamps, binary.BigEndian.AppendUint32(data, echo)...)
}

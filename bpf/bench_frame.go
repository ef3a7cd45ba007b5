// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// benchFlow is a connection as its client knows it after the SYN/ACK.
type benchFlow struct {
	client, vip netip.AddrPort
	seq, ack    uint32 // next to send, next expected
	tsecr       uint32
}

// syn is the SYN of a Linux client.
func (b benchFlow) syn() ([]byte, error) {
	return b.frame(layers.TCP{
		Seq: b.seq - 1, SYN: true, Window: 64240,
		Options: []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}},
			{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2},
			timestampOption(1, 0),
			{OptionType: layers.TCPOptionKindNop, OptionLength: 1},
			{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}},
		},
	}, nil)
}

// segment is an established connection's: an ACK, or with size that many bytes of data.
func (b benchFlow) segment(size int) ([]byte, error) { return b.says(make([]byte, size)) }

// says is an established connection's segment with this data.
func (b benchFlow) says(data []byte) ([]byte, error) { return b.carrying(0, data) }

// carrying is likewise, with that where urgent data would end.
func (b benchFlow) carrying(urgent uint16, data []byte) ([]byte, error) {
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	return b.frame(layers.TCP{
		Seq: b.seq, Ack: b.ack, ACK: true, PSH: len(data) > 0, Window: 502, Urgent: urgent,
		Options: []layers.TCPOption{nop, nop, timestampOption(2, b.tsecr)},
	}, data)
}

func timestampOption(value, echo uint32) layers.TCPOption {
	data := binary.BigEndian.AppendUint32(nil, value)
	data = binary.BigEndian.AppendUint32(data, echo)
	return layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: data}
}

func (b benchFlow) frame(tcp layers.TCP, data []byte) ([]byte, error) {
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(b.client.Port()), layers.TCPPort(b.vip.Port())
	eth := &layers.Ethernet{SrcMAC: benchClientMAC, DstMAC: benchNodeMAC, EthernetType: layers.EthernetTypeIPv4}
	from, to := b.client.Addr().AsSlice(), b.vip.Addr().AsSlice()
	var err error
	var ip gopacket.SerializableLayer
	if b.vip.Addr().Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: from, DstIP: to}
		ip, err = v6, tcp.SetNetworkLayerForChecksum(v6)
	} else {
		v4 := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: from, DstIP: to}
		ip, err = v4, tcp.SetNetworkLayerForChecksum(v4)
	}
	if err != nil {
		return nil, fmt.Errorf("make a frame: %w", err)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, eth, ip, &tcp, gopacket.Payload(data)); err != nil {
		return nil, fmt.Errorf("make a frame: %w", err)
	}
	return buf.Bytes(), nil
}

// synAckOf reads the SYN/ACK in a frame; false if it is something else.
func synAckOf(frame []byte) (b benchFlow, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
	tcp, ok := p.TransportLayer().(*layers.TCP)
	if !ok || !tcp.SYN || !tcp.ACK {
		return b, false
	}
	ends := p.NetworkLayer().NetworkFlow()
	vip, _ := netip.AddrFromSlice(ends.Src().Raw())
	client, _ := netip.AddrFromSlice(ends.Dst().Raw())
	b.client = netip.AddrPortFrom(client, uint16(tcp.DstPort))
	b.vip = netip.AddrPortFrom(vip, uint16(tcp.SrcPort))
	b.seq, b.ack = tcp.Ack, tcp.Seq+1
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindTimestamps && len(o.OptionData) == 8 {
			b.tsecr = binary.BigEndian.Uint32(o.OptionData)
		}
	}
	return b, true
}

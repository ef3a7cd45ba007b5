// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// probeWindow is what a probe says of a window. Clients drop a probe before they
// look at it.
const probeWindow = 1024

// probeAhead is what a probe adds to a timestamp: half of what is still ahead in
// arithmetic modulo 2^32. Days, where the clock has milliseconds.
const probeAhead = 1 << 30

// isNumbered tells whether a record knows sequence numbers and a way to its client:
// one that the store told of does not.
func isNumbered(g bpf.Guarded) bool { return !g.ClientMAC.IsZero() }

// keepAlive makes the frame that a silent client answers with an ACK: a keep-alive
// probe (RFC 9293, section 3.8.4) as the dead owner would have sent it, with the
// sequence number before the one that the client expects. What the client answers
// with says what it expects, and so what a RST must have: the last ACK that its
// guard has seen may be behind. The timestamp must not be older than the owner's last
// that the client got (RFC 7323, section 5.2): Linux 6.14 and later stay silent then.
// The last that it echoed may be, so the probe's lies far ahead; as the segment is not
// acceptable, the client forgets it.
func keepAlive(g bpf.Guarded, from topology.MAC) ([]byte, error) {
	tcp := &layers.TCP{Seq: g.Ack - 1, Ack: g.Seq}
	if g.HasTS {
		nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
		tcp.Options = []layers.TCPOption{nop, nop, timestamps(g.TSEcr+probeAhead, g.TSVal)}
	}
	eth := &layers.Ethernet{
		SrcMAC: net.HardwareAddr(from[:]), DstMAC: net.HardwareAddr(g.ClientMAC[:]), EthernetType: layers.EthernetTypeIPv4,
	}
	if g.Flow.Client.Addr().Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
	}
	return serializeProbe(g.Flow, tcp, eth)
}

// blindProbe makes the packet that provokes the same where no segment was ever seen:
// one with any numbers. They would have to hit the client's window for it not to
// answer, which is once in thousands, and it is probed with others again. Without
// timestamps it is not held to them. The packet is for the kernel to route.
func blindProbe(flow bpf.Flow, seq, ack uint32) ([]byte, error) {
	return serializeProbe(flow, &layers.TCP{Seq: seq, Ack: ack}, nil)
}

// serializeProbe completes an ACK from the VIP, and puts eth before it if there is one.
func serializeProbe(flow bpf.Flow, tcp *layers.TCP, eth *layers.Ethernet) ([]byte, error) {
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(flow.VIP.Port()), layers.TCPPort(flow.Client.Port())
	tcp.ACK, tcp.Window = true, probeWindow
	ip := ipHeader(flow.VIP.Addr(), flow.Client.Addr())
	all := []gopacket.SerializableLayer{ip, tcp}
	if eth != nil {
		all = []gopacket.SerializableLayer{eth, ip, tcp}
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	err := tcp.SetNetworkLayerForChecksum(ip)
	if err == nil {
		err = gopacket.SerializeLayers(buf, opts, all...)
	}
	if err != nil {
		return nil, fmt.Errorf("make a keep-alive probe to %s: %w", flow.Client, err)
	}
	return buf.Bytes(), nil
}

func timestamps(value, echo uint32) layers.TCPOption {
	data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, value), echo)
	return layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: data}
}

// ipLayer is the header of either IP version.
type ipLayer interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

// ipHeader makes the header of a TCP segment.
func ipHeader(from, to netip.Addr) ipLayer {
	if to.Is4() {
		return &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolTCP,
			SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP,
		SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

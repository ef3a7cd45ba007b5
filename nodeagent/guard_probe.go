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

// canProbe tells whether a record knows how to reach its client: one that was only
// condemned does not.
func canProbe(g bpf.Guarded) bool { return !g.ClientMAC.IsZero() }

// keepAlive makes the frame that a silent client answers with an ACK: a keep-alive
// probe (RFC 9293, section 3.8.4) as the dead owner would have sent it, with the
// sequence number before the one that the client expects. What the client answers
// with says what it expects, and so what a RST must have: the last ACK that its
// guard has seen may be behind. The timestamp must not be older than the owner's last
// that the client got (RFC 7323, section 5.2): Linux 6.14 and later stay silent then.
// The last that it echoed may be, so the probe's lies far ahead; as the segment is not
// acceptable, the client forgets it.
func keepAlive(g bpf.Guarded, from topology.MAC) ([]byte, error) {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(g.Flow.VIP.Port()), DstPort: layers.TCPPort(g.Flow.Client.Port()),
		Seq: g.Ack - 1, Ack: g.Seq, ACK: true, Window: probeWindow,
	}
	if g.HasTS {
		nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
		tcp.Options = []layers.TCPOption{nop, nop, timestamps(g.TSEcr+probeAhead, g.TSVal)}
	}
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr(from[:]), DstMAC: net.HardwareAddr(g.ClientMAC[:])}
	ip := ipHeader(eth, g.Flow.VIP.Addr(), g.Flow.Client.Addr())
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("make a keep-alive probe to %s: %w", g.Flow.Client, err)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, eth, ip, tcp); err != nil {
		return nil, fmt.Errorf("make a keep-alive probe to %s: %w", g.Flow.Client, err)
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

// ipHeader makes the header of a TCP segment, and sets the EtherType for it.
func ipHeader(eth *layers.Ethernet, from, to netip.Addr) ipLayer {
	if to.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		return &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolTCP,
			SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	}
	eth.EthernetType = layers.EthernetTypeIPv6
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP,
		SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

func guardedRecord(client, vip string) bpf.Guarded {
	return bpf.Guarded{
		Flow:  bpf.Flow{Client: netip.MustParseAddrPort(client), VIP: netip.MustParseAddrPort(vip)},
		Owner: 2, Ack: 5000, Seq: 900, TSVal: 77, TSEcr: 33, HasTS: true,
		ClientMAC: topology.MAC{2, 0, 0, 0, 0, 9},
	}
}

// probeFields is what a parser sees of a probe.
type probeFields struct {
	From, To         string // MACs
	Source, Dest     string
	SourcePort, Port uint16
	Seq, Ack         uint32
	Flags            string
	Payload          int
	TSVal, TSEcr     uint32 // 0: no option
}

func parseProbe(t *testing.T, frame []byte) probeFields {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if failed := p.ErrorLayer(); failed != nil {
		t.Fatalf("probe does not parse: %v", failed.Error())
	}
	verifyChecksums(t, p)
	eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	tcp := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	ends := p.NetworkLayer().NetworkFlow()
	out := probeFields{
		From: eth.SrcMAC.String(), To: eth.DstMAC.String(), Source: ends.Src().String(), Dest: ends.Dst().String(),
		SourcePort: uint16(tcp.SrcPort), Port: uint16(tcp.DstPort), Seq: tcp.Seq, Ack: tcp.Ack, Payload: len(tcp.Payload),
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{tcp.SYN, "S"}, {tcp.FIN, "F"}, {tcp.RST, "R"}, {tcp.PSH, "P"}, {tcp.ACK, "A"}} {
		if f.set {
			out.Flags += f.name
		}
	}
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindTimestamps {
			out.TSVal, out.TSEcr = binary.BigEndian.Uint32(o.OptionData), binary.BigEndian.Uint32(o.OptionData[4:])
		}
	}
	return out
}

// verifyChecksums computes them by hand over the bytes as they are.
func verifyChecksums(t *testing.T, p gopacket.Packet) {
	t.Helper()
	tcp := append(p.TransportLayer().LayerContents(), p.TransportLayer().LayerPayload()...)
	ends := p.NetworkLayer().NetworkFlow()
	pseudo := append(net.IP(ends.Src().Raw()), ends.Dst().Raw()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(tcp)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, 6)
	if sum := onesComplement(append(pseudo, tcp...)); sum != 0xffff {
		t.Errorf("TCP checksum is wrong: sums up to %#x", sum)
	}
	if ip := p.Layer(layers.LayerTypeIPv4); ip != nil {
		if sum := onesComplement(ip.LayerContents()); sum != 0xffff {
			t.Errorf("IP checksum is wrong: sums up to %#x", sum)
		}
	}
}

func onesComplement(b []byte) uint32 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}

func TestKeepAliveFrames(t *testing.T) {
	v4, v6 := guardedRecord("10.77.1.1:4711", "10.77.0.1:80"), guardedRecord("[fd77::1:1]:4711", "[fd77::1]:80")
	bare, first := v4, v4
	bare.HasTS = false
	first.Ack = 0 // the number before wraps
	want := probeFields{
		From: mac1.String(), To: "02:00:00:00:00:09", Source: "10.77.0.1", Dest: "10.77.1.1", SourcePort: 80, Port: 4711,
		Seq: 4999, Ack: 900, Flags: "A", TSVal: 33 + 1<<30, TSEcr: 77,
	}
	want6, wantBare, wantFirst := want, want, want
	want6.Source, want6.Dest = "fd77::1", "fd77::1:1"
	wantBare.TSVal, wantBare.TSEcr = 0, 0
	wantFirst.Seq = 0xffffffff
	for _, tt := range []struct {
		name string
		g    bpf.Guarded
		want probeFields
	}{
		{"IPv4", v4, want}, {"IPv6", v6, want6}, {"no timestamps", bare, wantBare}, {"wraps", first, wantFirst},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frame, err := keepAlive(tt.g, mac1)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, parseProbe(t, frame)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBlindProbePackets(t *testing.T) {
	for _, tt := range []struct{ client, vip, source, dest string }{
		{"10.77.1.1:4711", "10.77.0.1:80", "10.77.0.1", "10.77.1.1"},
		{"[fd77::1:1]:4711", "[fd77::1]:80", "fd77::1", "fd77::1:1"},
	} {
		packet, err := blindProbe(guardedRecord(tt.client, tt.vip).Flow, 11, 22)
		if err != nil {
			t.Fatal(err)
		}
		frame := frameOf(everybody, mac1[:], packet)
		binary.BigEndian.PutUint16(frame[12:], map[byte]uint16{4: 0x0800, 6: 0x86dd}[packet[0]>>4])
		want := probeFields{
			From: mac1.String(), To: everybody.String(), Source: tt.source, Dest: tt.dest, SourcePort: 80, Port: 4711,
			Seq: 11, Ack: 22, Flags: "A",
		}
		if diff := cmp.Diff(want, parseProbe(t, frame)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// sniffer sees the segments that clients send to a VIP, as a guard does.
type sniffer struct {
	t    *testing.T
	conn *packet.Conn
	vip  netip.Addr
}

func newSniffer(t *testing.T, vip netip.Addr) *sniffer {
	t.Helper()
	conn, err := packet.Listen(interfaceOf(t, "eth0"), packet.Raw, syscall.ETH_P_ALL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &sniffer{t, conn, vip}
}

// next gives the next segment that is no SYN, as a record.
func (s *sniffer) next() bpf.Guarded {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 2048)
	for {
		n, _, err := s.conn.ReadFrom(buf)
		if err != nil {
			s.t.Fatalf("no segment of the client: %v", err)
		}
		p := gopacket.NewPacket(buf[:n], layers.LayerTypeEthernet, gopacket.Default)
		tcp, ok := p.TransportLayer().(*layers.TCP)
		if !ok || tcp.SYN {
			continue
		}
		ends := p.NetworkLayer().NetworkFlow()
		from, _ := netip.AddrFromSlice(ends.Src().Raw())
		to, _ := netip.AddrFromSlice(ends.Dst().Raw())
		if to != s.vip {
			continue
		}
		g := bpf.Guarded{
			Flow: bpf.Flow{Client: netip.AddrPortFrom(from, uint16(tcp.SrcPort)), VIP: netip.AddrPortFrom(to, uint16(tcp.DstPort))},
			Ack:  tcp.Ack, Seq: tcp.Seq, ClientMAC: topology.MAC(p.LinkLayer().(*layers.Ethernet).SrcMAC),
		}
		for _, o := range tcp.Options {
			if o.OptionType == layers.TCPOptionKindTimestamps {
				g.HasTS, g.TSVal, g.TSEcr = true, binary.BigEndian.Uint32(o.OptionData), binary.BigEndian.Uint32(o.OptionData[4:])
			}
		}
		return g
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestRunFails runs a real agent through its primary's silence and its own
// failure: it speculates, stands down, and speculates again under another id.
func TestRunFails(t *testing.T) {
	inOwnProcess(t, "TestRunFails", func(t *testing.T, pins string) {
		addVeth(t, "eth0", "eth1")
		up(t, "eth1")
		client := newStranger(t, "eth1")
		store := state.NewMemory()
		leader, err := store.Campaign(t.Context(), "c1")
		if err != nil {
			t.Fatal(err)
		}
		apply := func(v state.View, self topology.NodeID) {
			t.Helper()
			v.Slots.Primary = slices.Repeat([]topology.NodeID{2}, topology.SlotCount) // which is not there
			v.Slots.Secondary = slices.Repeat([]topology.NodeID{self}, topology.SlotCount)
			if _, err := leader.Apply(t.Context(), recordsOf(v)...); err != nil {
				t.Fatal(err)
			}
		}
		apply(testView(), 1)
		cfg := Config{Cluster: "test", Node: "n1", Interface: "eth0", PinDir: pins, RunDir: t.TempDir(),
			Store: store, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test"}
		stop := runAgent(t, cfg)
		defer func() { stop() }()
		wait(t, "a SYN is answered in the primary's place", client.connects)

		failed := testView()
		n1 := failed.Nodes["n1"]
		n1.State, n1.Failure = state.NodeFailed, 7
		failed.Nodes["n1"] = n1
		apply(failed, 1)
		wait(t, "the node has stood down", func() bool { return agentOf(t, cfg).Cleared == 7 })
		if client.connects() {
			t.Error("a node that stood down answers")
		}
		stop()
		stop = runAgent(t, cfg)
		wait(t, "the next agent knows", func() bool { return agentOf(t, cfg).Cleared == 7 })
		if client.connects() {
			t.Error("a node that stood down answers after its agent was restarted")
		}

		n1.ID, n1.State = 3, state.NodeUp
		failed.Nodes["n1"] = n1
		failed.Slots.Epoch = 5
		apply(failed, 3)
		wait(t, "a SYN is answered under the new id", client.connects)
	})
}

// stranger is a client without a kernel: it sends SYNs, and looks for SYN/ACKs.
type stranger struct {
	t       *testing.T
	conn    *packet.Conn
	port    uint16
	heard   chan *layers.TCP
	address netip.Addr
}

func newStranger(t *testing.T, device string) *stranger {
	t.Helper()
	conn, err := packet.Listen(interfaceOf(t, device), packet.Raw, int(layers.EthernetTypeIPv4), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{t: t, conn: conn, port: 40000, heard: make(chan *layers.TCP, 100), address: netip.MustParseAddr("10.77.1.9")}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.listen(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		conn.Close()
	})
	return s
}

func (s *stranger) listen(ctx context.Context) {
	buf := make([]byte, 2000)
	for ctx.Err() == nil {
		n, _, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		p := gopacket.NewPacket(slices.Clone(buf[:n]), layers.LayerTypeEthernet, gopacket.Default)
		if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && tcp.SYN && tcp.ACK {
			s.heard <- tcp
		}
	}
}

// connects sends one SYN, from a port of its own, and tells whether it is answered
// before long.
func (s *stranger) connects() bool {
	s.t.Helper()
	s.port++
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: s.address.AsSlice(), DstIP: vip4.AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(s.port), DstPort: 80, Seq: 1000, SYN: true, Window: 65535,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		s.t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: mac2[:], DstMAC: interfaceOf(s.t, "eth0").HardwareAddr, EthernetType: layers.EthernetTypeIPv4}, ip, tcp)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.conn.WriteTo(buf.Bytes(), &packet.Addr{HardwareAddr: net.HardwareAddr(mac2[:])}); err != nil {
		s.t.Fatal(err)
	}
	patience := time.After(300 * time.Millisecond)
	for {
		select {
		case answer := <-s.heard:
			if answer.DstPort == layers.TCPPort(s.port) && answer.Ack == 1001 {
				return true
			}
		case <-patience:
			return false
		}
	}
}

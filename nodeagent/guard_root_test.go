// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// A keep-alive probe provokes an ACK from a silent client, and a RST with what that
// acknowledges ends the client's connection, also where its guard has not seen all
// that the client got. The test plays the filter's part.
func TestASilentClientIsReset(t *testing.T) {
	for _, tt := range []struct {
		name              string
		client, vip, node string
		timestamps        string
		saw               string // last, of the client's segments
	}{
		{"IPv4", "10.77.1.1/16", "10.77.0.1/16", "10.77.2.1/16", "1", "all"},
		{"IPv6", "fd77::1:1/64", "fd77::1/64", "fd77::2:1/64", "1", "all"},
		{"guard is behind", "10.77.1.1/16", "10.77.0.1/16", "10.77.2.1/16", "1", "handshake"},
		{"without timestamps", "10.77.1.1/16", "10.77.0.1/16", "10.77.2.1/16", "0", "handshake"},
		{"blind, IPv4", "10.77.1.1/16", "10.77.0.1/16", "10.77.2.1/16", "1", "nothing"},
		{"blind, IPv6", "fd77::1:1/64", "fd77::1/64", "fd77::2:1/64", "1", "nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newOrphanRig(t, tt.client, tt.vip, tt.timestamps)
			first := r.sniffer.next()         // the handshake's ACK
			time.Sleep(10 * time.Millisecond) // the timestamps' clock moves on
			r.say("hello")
			last := r.sniffer.next()
			if last.Ack != first.Ack+5 || last.HasTS != (tt.timestamps == "1") {
				t.Fatalf("client acknowledges with %+v after %+v", last, first)
			}
			silence(t, tt.vip)

			addAddr(t, "eth0", tt.node)

			switch tt.saw {
			case "all":
				r.probe(last)
			case "handshake":
				r.probe(first)
			case "nothing":
				r.probeBlindly(last.Flow, last.Ack+1<<30)
			}
			provoked := r.sniffer.next()
			if provoked.Ack != last.Ack || provoked.Seq != last.Seq {
				t.Errorf("the probe provoked %+v, want what the client expects, as in %+v", provoked, last)
			}
			r.send(resetAt(t, provoked, topology.MAC(r.wire.from)))
			_ = r.client.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := r.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client's connection ended with %v, want a reset", err)
			}
		})
	}
}

// orphanRig is a connection between a client in a namespace of its own and a server
// in the test's, which will be silenced.
type orphanRig struct {
	t              *testing.T
	wire           *rawWire
	sniffer        *sniffer
	client, server *net.TCPConn
}

// newOrphanRig connects them. Addresses are with their prefixes' lengths.
func newOrphanRig(t *testing.T, client, vip, timestamps string) *orphanRig {
	t.Helper()
	here := enterNamespace(t)
	peer := newPeer(t, here)
	addAddr(t, "eth0", vip)
	service := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParsePrefix(vip).Addr(), 80))
	r := &orphanRig{t: t, sniffer: newSniffer(t, service.AddrPort().Addr())}
	var err error
	if r.wire, err = listenWire(interfaceOf(t, "eth0")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.wire.close() })
	listener, err := net.ListenTCP("tcp", service)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	inside(t, peer, func() {
		addAddr(t, "eth0", client)
		if err := writeSysctl("net/ipv4/tcp_timestamps", timestamps); err != nil {
			t.Fatal(err)
		}
		if r.client, err = net.DialTCP("tcp", nil, service); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { r.client.Close() })
	if r.server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.server.Close() })
	return r
}

// say lets the server say something, and the client hear it.
func (r *orphanRig) say(text string) {
	r.t.Helper()
	if _, err := r.server.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(r.client, make([]byte, len(text))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *orphanRig) probe(g bpf.Guarded) {
	r.t.Helper()
	frame, err := keepAlive(g, topology.MAC(r.wire.from))
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(frame)
}

func (r *orphanRig) probeBlindly(flow bpf.Flow, seq uint32) {
	r.t.Helper()
	packet, err := blindProbe(flow, seq, 12345)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.wire.route(packet, flow.Client.Addr()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *orphanRig) send(frame []byte) {
	r.t.Helper()
	if err := r.wire.send(frame); err != nil {
		r.t.Fatal(err)
	}
}

// A guard that saw nothing but one ACK of a silent client, in the middle of its
// connection, asks who has it, of whom there is nobody left here, and has the filter
// end it.
func TestAGuardResetsASilentClient(t *testing.T) {
	r := newOrphanRig(t, "10.77.1.1/16", "10.77.0.1/16", "1")
	r.sniffer.next()
	r.say("hello")
	last := r.sniffer.next()
	r.abandon()
	f := r.filter()
	r.probe(last)
	wait(t, "the filter remembers the connection", func() bool {
		records, err := f.Guarded(topology.Undecided)
		return err == nil && len(records) == 1 && records[0].Ack == last.Ack && isNumbered(records[0])
	})

	v := fourNodes(time.Now())
	delete(v.Nodes, "n2")
	delete(v.Nodes, "n4")
	fail := v.Failures[7]
	fail.SlotNodes = []topology.NodeID{1, 3}
	v.Failures[7] = fail
	cfg := Config{Store: state.NewMemory(), Log: slog.New(slog.DiscardHandler)}
	self := &core{about: state.Agent{Name: "n1", MAC: topology.MAC(r.wire.from)}}
	g := newGuard(cfg, parts{core: self, wire: r.wire, here: connsHere}, newMetrics())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { g.run(ctx, f); close(ended) }()
	g.see(v)
	_ = r.client.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client's connection ended with %v, want a reset", err)
	}
	cancel()
	<-ended
	reasons, err := f.Reasons()
	if err != nil || reasons[bpf.ReasonResetOrphan.String()] == 0 {
		t.Errorf("reasons are %v, %v: the filter reset nothing", reasons, err)
	}
}

// abandon makes the server's socket go without a word (TCP_REPAIR).
func (r *orphanRig) abandon() {
	r.t.Helper()
	raw, err := r.server.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	})
	if err := errors.Join(err, failed, r.server.Close()); err != nil {
		r.t.Fatal(err)
	}
}

// filter attaches the programs of n1, the secondary of all slots.
func (r *orphanRig) filter() *bpf.Filter {
	r.t.Helper()
	f, err := bpf.Open(bpf.Options{PinDir: pinDir(r.t), Interface: "eth0"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = f.Remove() })
	slots := slices.Repeat([]bpf.Slot{{Primary: 3, Secondary: 1}}, topology.SlotCount)
	web := bpf.Service{ID: 0, VIPs: []netip.Addr{vip4}, Port: 80, Policy: topology.LeastConnection}
	if err := errors.Join(f.SetSelf(bpf.Self{ID: 1}), f.SetServices([]bpf.Service{web}), f.SetSlots(slots)); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// silence makes this node deaf: it has the VIP no more.
func silence(t *testing.T, vip string) {
	t.Helper()
	addr, err := netlink.ParseAddr(vip)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrDel(linkOf(t, "eth0"), addr); err != nil {
		t.Fatal(err)
	}
}

// resetAt makes the RST that the filter makes of a segment.
func resetAt(t *testing.T, g bpf.Guarded, from topology.MAC) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: from[:], DstMAC: g.ClientMAC[:], EthernetType: layers.EthernetTypeIPv4}
	if g.Flow.Client.Addr().Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
	}
	ip := ipHeader(g.Flow.VIP.Addr(), g.Flow.Client.Addr())
	tcp := &layers.TCP{SrcPort: layers.TCPPort(g.Flow.VIP.Port()), DstPort: layers.TCPPort(g.Flow.Client.Port()), Seq: g.Ack, RST: true}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, eth, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

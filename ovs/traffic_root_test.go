// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
	"github.com/onevip/onevip/topology"
)

const within = 5 * time.Second

// frame is an Ethernet frame with an IP or other packet in it.
func frame(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// tcpFrame is a SYN whose source port marks it.
func tcpFrame(t *testing.T, src, dst net.HardwareAddr, from, to netip.Addr, mark uint16) []byte {
	t.Helper()
	return segment(t, src, dst, from, to, &layers.TCP{SrcPort: layers.TCPPort(mark), DstPort: 80, SYN: true})
}

func segment(t *testing.T, src, dst net.HardwareAddr, from, to netip.Addr, tcp *layers.TCP) []byte {
	t.Helper()
	if from.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
		return frame(t, &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}, ip, tcp)
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	return frame(t, &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv6}, ip, tcp)
}

// marked finds a tcpFrame again, whatever happened to its Ethernet addresses.
func marked(mark uint16) func([]byte) bool {
	return func(b []byte) bool {
		tcp, ok := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeTCP).(*layers.TCP)
		return ok && uint16(tcp.SrcPort) == mark
	}
}

// TestTraffic sends real packets through one switch.
func TestTraffic(t *testing.T) {
	f := newFixture(t)
	s := f.installed(t)
	speaker := f.speak(t, s)
	for _, part := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"neighbors answered", testNeighbors},
		{"duplicate address", testDuplicateAddress},
		{"only the switch speaks for VIPs", testOnlyTheSwitchSpeaks},
		{"flood", testFlood},
		{"member to member", testMemberToMember},
		{"spoof guard", testSpoofGuard},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, f) })
	}
	t.Run("announcements", func(t *testing.T) { testAnnouncements(t, f, speaker) })
	if speaker.Counts()[ovs.NDAnswered] == 0 {
		t.Errorf("the speaker has answered nothing: %v", speaker.Counts())
	}
	if s.Counts() != (ovs.Counts{}) {
		t.Errorf("counts %+v, want none", s.Counts())
	}
}

// testNeighbors: the client's kernel learns the cluster MAC.
func testNeighbors(t *testing.T, f *fixture) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		f.client.Must(t, "ip", "neighbor", "flush", "dev", "eth0")
		f.client.Do(t, func() { // the datagram only makes the kernel ask who that is
			conn, err := net.Dial("udp", netip.AddrPortFrom(vip, 9).String())
			if err == nil {
				_, err = conn.Write([]byte("?"))
				_ = conn.Close()
			}
			if err != nil {
				t.Errorf("send to %v: %v", vip, err)
			}
		})
		ovstest.WaitFor(t, "the client to know "+vip.String(), func() bool {
			out := f.client.Must(t, "ip", "neighbor", "show", vip.String(), "dev", "eth0")
			return strings.Contains(out, clusterMAC.String())
		})
	}
}

// testDuplicateAddress: a client that wants a VIP for itself is told that it is
// taken, in IPv4 (RFC 5227 probe) and IPv6 (RFC 4862).
func testDuplicateAddress(t *testing.T, f *fixture) {
	client := f.client.Tap(t)
	client.Send(t, arpFrame(t, f.client.MAC, layers.ARPRequest, f.client.MAC, netip.IPv4Unspecified(), vip4))
	if _, err := client.Next(within, isARP(layers.ARPReply, clusterMAC)); err != nil {
		t.Errorf("answer to the probe: %v", err)
	}
	f.client.Must(t, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.eth0.dad_transmits=1")
	f.client.Must(t, "ip", "address", "add", vip6.String()+"/64", "dev", "eth0")
	ovstest.WaitFor(t, "the kernel to see the duplicate", func() bool {
		return strings.Contains(f.client.Must(t, "ip", "address", "show", "dev", "eth0"), "dadfailed")
	})
	f.client.Must(t, "ip", "address", "delete", vip6.String()+"/64", "dev", "eth0")
}

// testOnlyTheSwitchSpeaks: neither members nor clients can teach anybody
// another MAC for a VIP, nor see the questions.
func testOnlyTheSwitchSpeaks(t *testing.T, f *fixture) {
	other := f.sw.Host(t, "other", 0x11)
	f.sw.Vsctl(t, "add-port", "br0", "other")
	client, member, watcher := f.client.Tap(t), f.members[0].Tap(t), other.Tap(t)

	for _, who := range []struct {
		tap *ovstest.Tap
		mac net.HardwareAddr
	}{{client, f.client.MAC}, {member, f.members[0].MAC}} {
		who.tap.Send(t, arpFrame(t, who.mac, layers.ARPReply, who.mac, vip4, vip4))
		who.tap.Send(t, arpFrame(t, who.mac, layers.ARPRequest, who.mac, vip4, netip.MustParseAddr("10.77.1.1")))
	}
	client.Send(t, arpFrame(t, f.client.MAC, layers.ARPRequest, f.client.MAC, netip.MustParseAddr("10.77.1.1"), vip4))
	if _, err := client.Next(within, isARP(layers.ARPReply, clusterMAC)); err != nil {
		t.Errorf("answer to the client: %v", err)
	}
	client.Send(t, tcpFrame(t, f.client.MAC, broadcast, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 999))
	stray, err := watcher.Next(within, func(b []byte) bool {
		return marked(999)(b) || gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeARP) != nil
	})
	if err != nil || !marked(999)(stray) {
		t.Errorf("the other client sees %x (%v)", stray, err)
	}
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func arpFrame(t *testing.T, src net.HardwareAddr, op uint16, sha net.HardwareAddr, spa, tpa netip.Addr) []byte {
	t.Helper()
	return frame(t, &layers.Ethernet{SrcMAC: src, DstMAC: broadcast, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: op, SourceHwAddress: sha, SourceProtAddress: spa.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: tpa.AsSlice(),
	})
}

func isARP(op uint16, sender topology.MAC) func([]byte) bool {
	return func(b []byte) bool {
		arp, ok := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeARP).(*layers.ARP)
		return ok && arp.Operation == op && bytes.Equal(arp.SourceHwAddress, sender[:])
	}
}

// testFlood: a client's packet for a VIP reaches each member with that member's
// MAC, and nobody else, whichever MAC the client addressed.
func testFlood(t *testing.T, f *fixture) {
	client := f.client.Tap(t)
	var members []*ovstest.Tap
	for _, m := range f.members {
		members = append(members, m.Tap(t))
	}
	for i, to := range []struct {
		name string
		dst  net.HardwareAddr
		from netip.Addr
		vip  netip.Addr
	}{
		{"IPv4", clusterMAC[:], netip.MustParseAddr("10.77.1.9"), vip4},
		{"IPv6", clusterMAC[:], netip.MustParseAddr("fd77::1:9"), vip6},
		{"to a member's MAC", f.members[1].MAC, netip.MustParseAddr("10.77.1.9"), vip4},
	} {
		mark := uint16(1000 + i)
		client.Send(t, tcpFrame(t, f.client.MAC, to.dst, to.from, to.vip, mark))
		for j, tap := range members {
			got, err := tap.Next(within, marked(mark))
			if err != nil {
				t.Errorf("%s: member %d: %v", to.name, j+1, err)
			} else if !bytes.Equal(got[:6], f.members[j].MAC) {
				t.Errorf("%s: member %d gets it for %v", to.name, j+1, net.HardwareAddr(got[:6]))
			}
		}
	}
}

// testMemberToMember: what one member addresses to another for a VIP goes to
// that one only; to anything else, to all others.
func testMemberToMember(t *testing.T, f *fixture) {
	n1, n2, n3 := f.members[0].Tap(t), f.members[1].Tap(t), f.members[2].Tap(t)
	from := netip.MustParseAddr("10.77.1.9")
	n1.Send(t, tcpFrame(t, f.members[0].MAC, f.members[1].MAC, from, vip4, 1100))
	if _, err := n2.Next(within, marked(1100)); err != nil {
		t.Error(err)
	}
	n1.Send(t, tcpFrame(t, f.members[0].MAC, clusterMAC[:], from, vip4, 1101))
	got, err := n3.Next(within, func(b []byte) bool { return marked(1100)(b) || marked(1101)(b) })
	if err != nil || !marked(1101)(got) {
		t.Errorf("n3 sees %x (%v), want only what was for all", got, err)
	}
}

// testSpoofGuard sends what must not pass from the client, each followed by a
// frame that must.
func testSpoofGuard(t *testing.T, f *fixture) {
	client, n1, n2 := f.client.Tap(t), f.members[0].Tap(t), f.members[1].Tap(t)
	inside, outside := netip.MustParseAddr("10.77.2.2"), netip.MustParseAddr("10.77.1.9")
	nodeFrame := func(src net.HardwareAddr) []byte {
		return append(frame(t, &layers.Ethernet{SrcMAC: src, DstMAC: broadcast, EthernetType: ovs.EtherNode}),
			bytes.Repeat([]byte{0xab}, 60)...)
	}
	for _, tt := range []struct {
		name string
		bad  []byte
	}{
		{"VIP as source", tcpFrame(t, f.client.MAC, f.members[1].MAC, vip4, inside, 1)},
		{"IPv6 VIP as source", tcpFrame(t, f.client.MAC, f.members[1].MAC, vip6, netip.MustParseAddr("fd77::2:2"), 1)},
		{"VIP to itself", tcpFrame(t, f.client.MAC, clusterMAC[:], vip4, vip4, 1)},
		{"member's MAC", tcpFrame(t, f.members[0].MAC, f.members[1].MAC, outside, inside, 1)},
		{"member's MAC to the VIP", tcpFrame(t, f.members[0].MAC, f.members[1].MAC, outside, vip4, 1)},
		{"cluster MAC", tcpFrame(t, clusterMAC[:], f.members[1].MAC, outside, inside, 1)},
		{"node frame", nodeFrame(f.client.MAC)},
		{"node frame with a member's MAC", nodeFrame(f.members[0].MAC)},
	} {
		client.Send(t, tt.bad)
		client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], outside, vip4, 2))
		got, err := n2.Next(within, func(b []byte) bool {
			return marked(1)(b) || marked(2)(b) || bytes.Equal(b[12:14], []byte{0x88, 0xb5})
		})
		if err != nil || !marked(2)(got) {
			t.Errorf("%s: n2 sees %x (%v)", tt.name, got, err)
		}
	}

	// The same from the member itself passes, and node frames reach the others
	// as they are.
	n1.Send(t, tcpFrame(t, f.members[0].MAC, f.client.MAC, vip4, outside, 3))
	if _, err := client.Next(within, marked(3)); err != nil {
		t.Errorf("a member's answer from the VIP: %v", err)
	}
	sent := nodeFrame(f.members[0].MAC)
	n1.Send(t, sent)
	for i, tap := range []*ovstest.Tap{n2, f.members[2].Tap(t)} {
		if i == 1 {
			n1.Send(t, sent)
		}
		if _, err := tap.Next(within, func(b []byte) bool { return bytes.Equal(b, sent) }); err != nil {
			t.Errorf("node frame at member %d: %v", i+2, err)
		}
	}
	f.checkDropsCounted(t)
}

// checkDropsCounted: each kind of forgery shows under its reason.
func (f *fixture) checkDropsCounted(t *testing.T) {
	t.Helper()
	// The datapath's counts reach the flows with the next revalidation.
	ovstest.WaitFor(t, "packets to be counted by the flows that drop", func() bool {
		f.sw.Appctl(t, "revalidator/purge")
		drops, err := f.session.Drops(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []ovs.Kind{ovs.KindForgedSource, ovs.KindForgedMAC, ovs.KindForgedNode, ovs.KindForgedARP} {
			if drops[kind] == 0 {
				return false
			}
		}
		return true
	})
}

// testAnnouncements: clients hear of the VIPs at once; members do not.
func testAnnouncements(t *testing.T, f *fixture, speaker *ovs.Speaker) {
	client, n1 := f.client.Tap(t), f.members[0].Tap(t)
	speaker.Set(f.intent())
	for _, want := range []struct {
		name string
		is   func([]byte) bool
	}{
		{"gratuitous ARP request", isARP(layers.ARPRequest, clusterMAC)},
		{"gratuitous ARP reply", isARP(layers.ARPReply, clusterMAC)},
		{"unsolicited NA", func(b []byte) bool {
			return gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).
				Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil && bytes.Equal(b[6:12], clusterMAC[:])
		}},
	} {
		if _, err := client.Next(within, want.is); err != nil {
			t.Errorf("%s: %v", want.name, err)
		}
	}
	client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], netip.MustParseAddr("10.77.1.9"), vip4, 5))
	got, err := n1.Next(within, func(b []byte) bool { return marked(5)(b) || bytes.Equal(b[6:12], clusterMAC[:]) })
	if err != nil || !marked(5)(got) {
		t.Errorf("n1 sees %x (%v)", got, err)
	}
}

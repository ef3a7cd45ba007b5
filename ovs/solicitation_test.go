// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/ndp"

	"github.com/onevip/onevip/topology"
)

var (
	testMAC    = topology.MAC{0x02, 0x0e, 0x77, 0, 0, 1}
	testVIP    = netip.MustParseAddr("fd77::1")
	testClient = netip.MustParseAddr("fd77::1:5")
	clientMAC  = topology.MAC{2, 0, 0, 0, 0, 0x10}
)

// solicitation is a good one until a test changes it.
type solicitation struct {
	source, dest, target netip.Addr
	hopLimit             uint8
	nextHeader           layers.IPProtocol
	options              []ndp.Option
	code                 byte
	spoilChecksum        bool
	vlan                 uint16
	trailer              []byte
	length               int // of the IPv6 payload; 0: right
}

func goodSolicitation() solicitation {
	group, err := ndp.SolicitedNodeMulticast(testVIP)
	if err != nil {
		panic(err)
	}
	return solicitation{
		source: testClient, dest: group, target: testVIP,
		hopLimit: 255, nextHeader: layers.IPProtocolICMPv6,
		options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: clientMAC[:]}},
	}
}

func (s solicitation) frame(t testing.TB) []byte {
	t.Helper()
	icmp, err := ndp.MarshalMessage(&ndp.NeighborSolicitation{TargetAddress: s.target, Options: s.options})
	if err != nil {
		t.Fatal(err)
	}
	icmp[1] = s.code
	pseudo := slices.Concat(s.source.AsSlice(), s.dest.AsSlice(), []byte{0, 0, 0, byte(len(icmp)), 0, 0, 0, 58})
	sum := gopacket.FoldChecksum(gopacket.ComputeChecksum(icmp, gopacket.ComputeChecksum(pseudo, 0)))
	icmp[2], icmp[3] = byte(sum>>8), byte(sum)
	if s.spoilChecksum {
		icmp[3]++
	}
	ether := &layers.Ethernet{SrcMAC: clientMAC[:], DstMAC: multicastMAC(s.dest), EthernetType: layers.EthernetTypeIPv6}
	parts := []gopacket.SerializableLayer{ether}
	if s.vlan != 0 {
		ether.EthernetType = layers.EthernetTypeDot1Q
		parts = append(parts, &layers.Dot1Q{VLANIdentifier: s.vlan, Type: layers.EthernetTypeIPv6})
	}
	ip := &layers.IPv6{Version: 6, NextHeader: s.nextHeader, HopLimit: s.hopLimit,
		SrcIP: s.source.AsSlice(), DstIP: s.dest.AsSlice(), Length: uint16(len(icmp) + s.length)}
	buffer := gopacket.NewSerializeBuffer()
	parts = append(parts, ip, gopacket.Payload(slices.Concat(icmp, s.trailer)))
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{}, parts...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func TestAnswerNDReasons(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*solicitation)
		want   NDReason
	}{
		{"multicast", func(*solicitation) {}, NDAnswered},
		{"unicast", func(s *solicitation) { s.dest = testVIP }, NDAnswered},
		{"without options", func(s *solicitation) { s.options = nil }, NDAnswered},
		{"tagged", func(s *solicitation) { s.vlan = 7 }, NDAnswered},
		{"probe", func(s *solicitation) { s.source, s.options = netip.IPv6Unspecified(), nil }, NDAnswered},
		{"from beyond a router", func(s *solicitation) { s.hopLimit = 254 }, NDHopLimit},
		{"checksum wrong", func(s *solicitation) { s.spoilChecksum = true }, NDChecksum},
		{"another target", func(s *solicitation) { s.target = testVIP.Next() }, NDTarget},
		{"multicast target", func(s *solicitation) { s.target = allNodes }, NDMalformed},
		{"multicast source", func(s *solicitation) { s.source = allNodes }, NDSource},
		{"the VIP as source", func(s *solicitation) { s.source = testVIP }, NDSource},
		{"not ICMPv6", func(s *solicitation) { s.nextHeader = layers.IPProtocolUDP }, NDMalformed},
		{"behind an extension header", func(s *solicitation) { s.nextHeader = layers.IPProtocolIPv6HopByHop }, NDMalformed},
		{"code not 0", func(s *solicitation) { s.code = 1 }, NDMalformed},
		{"cut short", func(s *solicitation) { s.length = 8 }, NDMalformed},
		{"Ethernet padding", func(s *solicitation) { s.trailer = make([]byte, 6) }, NDAnswered},
		{"probe with an address", func(s *solicitation) { s.source = netip.IPv6Unspecified() }, NDOption},
		{"unicast probe", func(s *solicitation) {
			s.source, s.options, s.dest = netip.IPv6Unspecified(), nil, testVIP
		}, NDSource},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := goodSolicitation()
			tt.change(&s)
			frame, reason := answerND(s.frame(t), testMAC, []netip.Addr{testVIP})
			if reason != tt.want {
				t.Errorf("reason %q, want %q", reason, tt.want)
			}
			if (frame != nil) != (reason == NDAnswered) {
				t.Errorf("reason %q with a frame of %d bytes", reason, len(frame))
			}
		})
	}
}

// advert is a neighbour advertisement as its reader sees it.
type advert struct {
	EtherTo, EtherFrom, IPTo, IPFrom string
	HopLimit                         uint8
	VLAN                             uint16
	ChecksumOK                       bool
	Message                          ndp.NeighborAdvertisement
}

func readAdvert(t *testing.T, frame []byte) advert {
	t.Helper()
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := packet.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	ether := packet.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	ip := packet.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	message, err := ndp.ParseMessage(ip.Payload)
	if err != nil {
		t.Fatal(err)
	}
	a := advert{
		EtherTo: ether.DstMAC.String(), EtherFrom: ether.SrcMAC.String(),
		IPTo: ip.DstIP.String(), IPFrom: ip.SrcIP.String(), HopLimit: ip.HopLimit,
		ChecksumOK: checksumOK(*ip), Message: *message.(*ndp.NeighborAdvertisement),
	}
	if tag, ok := packet.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q); ok {
		a.VLAN = tag.VLANIdentifier
	}
	return a
}

func TestAnswerNDFrame(t *testing.T) {
	address := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: testMAC[:]}}
	base := advert{
		EtherTo: clientMAC.String(), EtherFrom: testMAC.String(),
		IPTo: testClient.String(), IPFrom: testVIP.String(), HopLimit: 255, ChecksumOK: true,
		Message: ndp.NeighborAdvertisement{Solicited: true, Override: true, TargetAddress: testVIP, Options: address},
	}
	tagged, probe := base, base
	tagged.VLAN = 7
	probe.EtherTo, probe.IPTo, probe.Message.Solicited = "33:33:00:00:00:01", "ff02::1", false
	for _, tt := range []struct {
		name   string
		change func(*solicitation)
		want   advert
	}{
		{"to who asked", func(*solicitation) {}, base},
		{"with its tag", func(s *solicitation) { s.vlan = 7 }, tagged},
		{"a probe: to all", func(s *solicitation) { s.source, s.options = netip.IPv6Unspecified(), nil }, probe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := goodSolicitation()
			tt.change(&s)
			frame, reason := answerND(s.frame(t), testMAC, []netip.Addr{testVIP})
			if reason != NDAnswered {
				t.Fatal(reason)
			}
			if diff := cmp.Diff(tt.want, readAdvert(t, frame), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnnouncements(t *testing.T) {
	vip := netip.MustParseAddr("10.77.0.1")
	frames, err := announcements(testMAC, vip)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []layers.ARP{
		{Operation: arpRequest, DstHwAddress: make([]byte, 6)},
		{Operation: arpReply, DstHwAddress: testMAC[:]},
	} {
		packet := gopacket.NewPacket(frames[i], layers.LayerTypeEthernet, gopacket.Default)
		arp := packet.Layer(layers.LayerTypeARP).(*layers.ARP)
		if arp.Operation != want.Operation || string(arp.DstHwAddress) != string(want.DstHwAddress) ||
			string(arp.SourceHwAddress) != string(testMAC[:]) ||
			string(arp.SourceProtAddress) != string(vip.AsSlice()) || string(arp.DstProtAddress) != string(vip.AsSlice()) {
			t.Errorf("frame %d: %+v", i, arp)
		}
	}

	frames, err = announcements(testMAC, testVIP)
	if err != nil || len(frames) != 1 {
		t.Fatalf("%d frames, error %v", len(frames), err)
	}
	a := readAdvert(t, frames[0])
	if a.IPTo != "ff02::1" || a.EtherTo != "33:33:00:00:00:01" || a.Message.Solicited || !a.Message.Override || !a.ChecksumOK {
		t.Errorf("unsolicited advertisement: %+v", a)
	}
}

// FuzzAnswerND: no frame makes it panic, and it answers only about VIPs.
func FuzzAnswerND(f *testing.F) {
	f.Add(goodSolicitation().frame(f))
	tagged := goodSolicitation()
	tagged.vlan = 7
	f.Add(tagged.frame(f))
	f.Fuzz(func(t *testing.T, frame []byte) {
		answer, reason := answerND(frame, testMAC, []netip.Addr{testVIP})
		if reason != NDAnswered {
			return
		}
		if a := readAdvert(t, answer); a.Message.TargetAddress != testVIP {
			t.Errorf("answered about %v", a.Message.TargetAddress)
		}
	})
}

// TestSpeakerLimits: a flood from one port leaves the others their answers, and
// the number of limits is bounded.
func TestSpeakerLimits(t *testing.T) {
	s := NewSpeaker(nil, 1)
	now := time.Now()
	if !s.limit(1).AllowN(now, answerBurst) || s.limit(1).AllowN(now, 1) {
		t.Error("port 1 is not limited to its burst")
	}
	if !s.limit(2).AllowN(now, 1) {
		t.Error("port 2 suffers from port 1")
	}
	for port := range uint32(2 * maxLimits) {
		s.limit(port)
	}
	if len(s.limits) > maxLimits+1 {
		t.Errorf("%d limits", len(s.limits))
	}
}

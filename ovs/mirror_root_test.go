// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/ovs/ovstest"
)

// Marks of frames; see marked.
const (
	markTested uint16 = 3000
	markLast   uint16 = 3001 // comes after it
)

var (
	outside4 = netip.MustParseAddr("10.77.1.9")
	outside6 = netip.MustParseAddr("fd77::1:9")
	nowhere  = netip.MustParseAddr("192.0.2.1")
)

// outsideOf is a client's address of a VIP's family.
func outsideOf(vip netip.Addr) netip.Addr {
	if vip.Is4() {
		return outside4
	}
	return outside6
}

// synACK is what a member answers for a VIP, with marks of its own.
func synACK(t *testing.T, src, dst net.HardwareAddr, vip netip.Addr) []byte {
	t.Helper()
	return segment(t, src, dst, vip, outsideOf(vip), &layers.TCP{SrcPort: layers.TCPPort(markTested), SYN: true, ACK: true, ECE: true})
}

// deliver sends a frame and waits until it is where it must get to: a switch may
// deal with another flow's packet, sent later, first.
func deliver(t *testing.T, from *ovstest.Tap, frame []byte, receiver *ovstest.Tap, dst net.HardwareAddr) {
	t.Helper()
	from.Send(t, frame)
	got, err := receiver.Next(within, marked(markTested))
	if err != nil || !bytes.Equal(got[:6], dst) {
		t.Fatalf("the receiver gets %x (%v), want it for %v", got, err, dst)
	}
}

// until lists the Ethernet destinations of the frames marked markTested that
// come before one marked markLast.
func until(t *testing.T, tap *ovstest.Tap) []net.HardwareAddr {
	t.Helper()
	var got []net.HardwareAddr
	_, err := tap.Next(within, func(b []byte) bool {
		if marked(markTested)(b) {
			got = append(got, bytes.Clone(b[:6]))
		}
		return marked(markLast)(b)
	})
	if err != nil {
		t.Fatalf("the last frame: %v", err)
	}
	return got
}

// want fails the test unless a host got one frame, for this MAC, or none if dst
// is nil.
func want(t *testing.T, who string, got []net.HardwareAddr, dst net.HardwareAddr) {
	t.Helper()
	if dst == nil && len(got) == 0 || len(got) == 1 && bytes.Equal(got[0], dst) {
		return
	}
	t.Errorf("%s gets frames for %v, want %v", who, got, dst)
}

// teach has the switches learn where the hosts are, and waits until the watcher
// has seen it: what floods in ignorance is no mirror.
func teach(t *testing.T, watcher *ovstest.Tap, taps map[*ovstest.Tap]net.HardwareAddr) {
	t.Helper()
	mark := uint16(100) // below the marks of streams
	for tap, mac := range taps {
		mark++
		tap.Send(t, tcpFrame(t, mac, broadcast, nowhere, nowhere, mark))
		if _, err := watcher.Next(within, marked(mark)); err != nil {
			t.Fatalf("the broadcast of %v: %v", mac, err)
		}
	}
}

// TestMirror: a SYN/ACK from a VIP reaches its client once, as it was, and each
// other member once, for its own MAC. Nothing else is copied.
func TestMirror(t *testing.T) {
	f := newFixture(t)
	f.installed(t)
	client, n1, n2, n3 := f.client.Tap(t), f.members[0].Tap(t), f.members[1].Tap(t), f.members[2].Tap(t)
	mac1, mac2, mac3 := f.members[0].MAC, f.members[1].MAC, f.members[2].MAC
	teach(t, n3, map[*ovstest.Tap]net.HardwareAddr{client: f.client.MAC, n1: mac1, n2: mac2})

	tested := &layers.TCP{SrcPort: layers.TCPPort(markTested), ACK: true, PSH: true}
	for _, tt := range []struct {
		name   string
		frame  []byte
		copied bool
	}{
		{"IPv4", synACK(t, mac1, f.client.MAC, vip4), true},
		{"IPv6", synACK(t, mac1, f.client.MAC, vip6), true},
		{"data", segment(t, mac1, f.client.MAC, vip4, outside4, tested), false},
		{"data, IPv6", segment(t, mac1, f.client.MAC, vip6, outside6, tested), false},
		{"SYN", tcpFrame(t, mac1, f.client.MAC, vip4, outside4, markTested), false},
		{"SYN/ACK of a node's own", segment(t, mac1, f.client.MAC, netip.MustParseAddr("10.77.2.1"), outside4,
			&layers.TCP{SrcPort: layers.TCPPort(markTested), SYN: true, ACK: true}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			deliver(t, n1, tt.frame, client, f.client.MAC)
			n1.Send(t, tcpFrame(t, mac1, f.client.MAC, vip4, outside4, markLast))
			want(t, "the client, again,", until(t, client), nil)
			client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], outside4, vip4, markLast))
			want(t, "the sender", until(t, n1), nil)
			copies := []net.HardwareAddr{mac2, mac3}
			if !tt.copied {
				copies = []net.HardwareAddr{nil, nil}
			}
			want(t, "n2", until(t, n2), copies[0])
			want(t, "n3", until(t, n3), copies[1])
		})
	}
}

// testMirrorAcross: on two switches every member sees the SYN/ACK of any other
// once, and of two clients only the one that it is for.
func testMirrorAcross(t *testing.T, f *fixture, other *ovstest.Host) {
	client, far := f.client.Tap(t), other.Tap(t)
	n1, n2, n3 := f.members[0].Tap(t), f.members[1].Tap(t), f.members[2].Tap(t)
	mac1, mac2, mac3 := f.members[0].MAC, f.members[1].MAC, f.members[2].MAC
	teach(t, n2, map[*ovstest.Tap]net.HardwareAddr{client: f.client.MAC, far: other.MAC, n1: mac1, n3: mac3})
	hosts := []struct {
		name string
		tap  *ovstest.Tap
		mac  net.HardwareAddr
	}{{"client", client, f.client.MAC}, {"far", far, other.MAC}, {"n1", n1, mac1}, {"n2", n2, mac2}, {"n3", n3, mac3}}
	for _, vip := range []netip.Addr{vip4, vip6} {
		for _, from := range []int{2, 4} {
			for _, to := range []int{0, 1} {
				sender, receiver := hosts[from], hosts[to]
				t.Run(sender.name+" to "+receiver.name+" from "+vip.String(), func(t *testing.T) {
					deliver(t, sender.tap, synACK(t, sender.mac, receiver.mac, vip), receiver.tap, receiver.mac)
					sender.tap.Send(t, tcpFrame(t, sender.mac, broadcast, nowhere, nowhere, markLast))
					for i, h := range hosts {
						switch {
						case i <= 1: // clients; the receiver has had it
							want(t, h.name, until(t, h.tap), nil)
						case i != from:
							want(t, h.name, until(t, h.tap), h.mac)
						}
					}
				})
			}
		}
	}
}

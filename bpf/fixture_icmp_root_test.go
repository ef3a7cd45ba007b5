// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// icmp is a frame from the client, or from a router that speaks of its path.
func (f family) icmp(kind uint8, body []byte) []byte {
	e := inbound(f.client, f.vip)
	if f.vip.Is4() {
		eth, _, ip := e.ip(layers.IPProtocolICMPv4)
		return serialize(&eth, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 4)}, gopacket.Payload(body))
	}
	eth, network, ip := e.ip(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	if err := icmp.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	unused := make([]byte, 4) // gopacket's ICMPv6 header has 4 bytes, the message's has 8
	return serialize(&eth, ip, icmp, gopacket.Payload(append(unused, body...)))
}

func (f family) echoType() uint8 {
	if f.vip.Is4() {
		return 8
	}
	return 128
}

// unreachableType means fragmentation needed, or packet too big.
func (f family) unreachableType() uint8 {
	if f.vip.Is4() {
		return 3
	}
	return 2
}

// quote is the beginning of a packet that the VIP sent to the client, n bytes of
// TCP: 8 at least (RFC 792).
func (f family) quote(port uint16, n int) []byte {
	frame := f.answer(port, layers.TCP{ACK: true, Seq: 5, Ack: 6})
	return frame[14 : f.l4()+n]
}

func TestFixtureEcho(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		ping := f.icmp(f.echoType(), []byte("ping"))
		r.run(t, f.name+" to the slot's primary", func(t *testing.T) {
			if got := r.expect(t, ping, ReasonEcho); !bytes.Equal(got.frame, ping) {
				t.Fatalf("changed to %x", got.frame)
			}
		})
		r.run(t, f.name+" to another", func(t *testing.T) {
			r.setPrimary(t, rigOther)
			defer r.setPrimary(t, rigSelf)
			r.expect(t, ping, ReasonForeignICMP)
		})
		r.run(t, f.name+" to the primary of one slot only", func(t *testing.T) {
			slot := SlotOf(netip.AddrPortFrom(f.client, 0), netip.AddrPortFrom(f.vip, 0))
			table := make([]Slot, topology.SlotCount)
			table[slot].Primary = rigSelf
			r.setSlots(t, table)
			defer r.setPrimary(t, rigSelf)
			r.expect(t, ping, ReasonEcho)
		})
	}
}

func (r *rig) setSlots(t testing.TB, table []Slot) {
	t.Helper()
	if err := r.f.SetSlots(table); err != nil {
		t.Fatal(err)
	}
}

// All 256 types: those that are errors and speak of a foreign socket, echoes,
// neighbour discovery, and the rest.
func TestFixtureICMPTypes(t *testing.T) {
	r := newRig(t)
	w := r.way()
	for _, f := range families {
		r.run(t, f.name, func(t *testing.T) {
			for kind := range 256 {
				r.agree(t, w, f.icmp(uint8(kind), f.quote(webPort, 8)), skBuff{})
			}
		})
	}
}

// An error goes up only where the socket of the quoted segment is.
func TestFixtureICMPErrors(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		c := r.connect(t, f)
		r.run(t, f.name, func(t *testing.T) { r.testErrors(t, f, c) })
	}
}

func (r *rig) testErrors(t *testing.T, f family, c *connection) {
	own := f.quote(webPort, 8)
	other := put(own, f.l4()-14+2, 0x12, 0x34) // another client port
	listener := f.quote(webPort, 8)
	if f.vip.Is4() {
		copy(listener[16:20], []byte{192, 0, 2, 1}) // to a client that never was
	} else {
		copy(listener[24:40], netip.MustParseAddr("2001:db8::1").AsSlice())
	}
	kinds := []uint8{3, 11, 12}
	if f.vip.Is6() {
		kinds = []uint8{1, 2, 3, 4}
	}
	protocol := 9
	if f.vip.Is6() {
		protocol = 6
	}
	tests := []struct {
		name  string
		quote []byte
		want  Reason
	}{
		{"of our socket", own, ReasonOwnICMPError},
		{"of our socket, more of it", f.quote(webPort, 20), ReasonOwnICMPError},
		{"of our socket, ports only", own[:len(own)-4], ReasonOwnICMPError},
		{"of another port", other, ReasonForeignICMP},
		{"of a listener's port", listener, ReasonForeignICMP},
		{"cut in the ports", own[:len(own)-5], ReasonTruncated},
		{"cut in the IP header", own[:12], ReasonTruncated},
		{"without a quote", nil, ReasonTruncated},
		{"of UDP", put(own, protocol, 17), ReasonICMPOther},
		{"of another IP version", put(own, 0, own[0]^0x20), ReasonICMPOther},
	}
	if f.vip.Is4() {
		tests = append(tests, struct {
			name  string
			quote []byte
			want  Reason
		}{"with IP options", put(own, 0, 0x46), ReasonICMPOther})
	}
	for _, tt := range tests {
		for _, kind := range kinds {
			got := r.send(t, f.icmp(kind, tt.quote))
			if got.reason != tt.want {
				t.Errorf("type %d %s: reason %s, want %s", kind, tt.name, got.reason, tt.want)
			}
		}
	}
}

// The switch answers neighbour discovery; what reaches a VIP's node by unicast
// goes no further.
func TestFixtureNeighborDiscovery(t *testing.T) {
	r := newRig(t)
	f := families[1]
	for kind := uint8(133); kind <= 137; kind++ {
		frame := f.icmp(kind, f.vip.AsSlice())
		r.expect(t, frame, ReasonNeighbor)
	}
	solicited := inbound(f.client, netip.MustParseAddr("ff02::1:ff00:1"))
	solicited.ttl = 255
	body := append(binary.BigEndian.AppendUint32(nil, 0x87000000), make([]byte, 20)...)
	r.expect(t, solicited.raw(layers.IPProtocolICMPv6, body), ReasonNotVIP)
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

// put overwrites bytes of a copy.
func put(frame []byte, at int, bytes_ ...byte) []byte {
	out := bytes.Clone(frame)
	copy(out[at:], bytes_)
	return out
}

// malformed is a frame, and why it must go.
type malformed struct {
	name  string
	frame []byte
	want  Reason
}

func TestFixtureMalformed(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		tests := append(badTCP(f), badIP(f)...)
		if f.vip.Is4() {
			tests = append(tests, badIPv4(f)...)
		} else {
			tests = append(tests, badIPv6(f)...)
		}
		for _, tt := range tests {
			r.run(t, f.name+" "+tt.name, func(t *testing.T) {
				got := r.expect(t, tt.frame, tt.want)
				if !bytes.Equal(got.frame, tt.frame) {
					t.Fatalf("changed to %x", got.frame)
				}
			})
		}
	}
}

func badTCP(f family) []malformed {
	syn := f.segment(webPort, plainOffer(webPort).syn())
	bare := f.segment(webPort, layers.TCP{SYN: true})
	offset, flags, options := f.l4()+12, f.l4()+13, f.l4()+20
	return []malformed{
		{"SYN+FIN", put(syn, flags, 0x03), ReasonBadTCPFlags},
		{"SYN+RST", put(syn, flags, 0x06), ReasonBadTCPFlags},
		{"SYN+ACK+FIN", put(syn, flags, 0x13), ReasonBadTCPFlags},
		{"all flags", put(syn, flags, 0xff), ReasonBadTCPFlags},
		{"no flags", put(syn, flags, 0), ReasonBadTCPFlags},
		{"FIN alone", put(syn, flags, 0x01), ReasonBadTCPFlags},
		{"Christmas tree", put(syn, flags, 0x29), ReasonBadTCPFlags},
		{"data offset 0", put(syn, offset, 0x00), ReasonBadTCPHeader},
		{"data offset 4", put(syn, offset, 0x40), ReasonBadTCPHeader},
		{"data offset beyond the packet", put(bare, offset, 0x60), ReasonBadTCPHeader},
		{"data offset 15 of a bare header", put(bare, offset, 0xf0), ReasonBadTCPHeader},
		{"option of length 0", put(syn, options, 2, 0), ReasonBadTCPOptions},
		{"option of length 1", put(syn, options, 2, 1), ReasonBadTCPOptions},
		{"unknown option of length 0", put(syn, options, 77, 0), ReasonBadTCPOptions},
		{"option one byte too long", put(syn, options, 2, 21), ReasonBadTCPOptions},
		{"option of length 255", put(syn, options, 2, 255), ReasonBadTCPOptions},
		{"option without a length at the end", put(put(syn, options+16, 1, 1, 1), options+19, 3), ReasonBadTCPOptions},
		{"header cut to 19 bytes", f.fixLengths(bytes.Clone(bare[:len(bare)-1])), ReasonTruncated},
		{"no transport header", f.fixLengths(bytes.Clone(bare[:f.l4()])), ReasonTruncated},
	}
}

func badIP(f family) []malformed {
	syn := f.segment(webPort, plainOffer(webPort).syn())
	e := inbound(f.client, f.vip)
	land := inbound(f.vip, f.vip)
	other := vip4
	if f.vip.Is4() {
		other = netip.MustParseAddr("10.77.0.2")
	}
	elsewhere := inbound(f.client, other)
	if f.vip.Is6() {
		elsewhere.to = netip.MustParseAddr("fd77::2")
	}
	tcp := layers.TCP{SrcPort: clientPort, DstPort: webPort, SYN: true}
	return []malformed{
		{"land", land.tcp(tcp, nil), ReasonLand},
		{"UDP", e.raw(layers.IPProtocolUDP, make([]byte, 100)), ReasonNotTCP},
		{"SCTP", e.raw(layers.IPProtocolSCTP, make([]byte, 100)), ReasonNotTCP},
		{"GRE", e.raw(layers.IPProtocolGRE, make([]byte, 100)), ReasonNotTCP},
		{"shorter than it says", syn[:len(syn)-1], ReasonBadIPHeader},
		{"version 5", put(syn, 14, 0x55), ReasonNotVIP},
		{"another address", elsewhere.tcp(tcp, nil), ReasonNotVIP},
		{"ARP", put(syn, 12, 0x08, 0x06), ReasonNotVIP},
		{"VLAN", put(syn, 12, 0x81, 0x00), ReasonNotVIP},
		{"LLDP", put(syn, 12, 0x88, 0xcc), ReasonNotVIP},
		{"the other family's type", put(syn, 12, otherType(f)...), ReasonNotVIP},
	}
}

func otherType(f family) []byte {
	if f.vip.Is4() {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

func badIPv4(f family) []malformed {
	syn := f.segment(webPort, plainOffer(webPort).syn())
	return []malformed{
		{"header of 0 words", put(syn, 14, 0x40), ReasonBadIPHeader},
		{"header of 4 words", put(syn, 14, 0x44), ReasonBadIPHeader},
		{"options", put(syn, 14, 0x46), ReasonIPOptions},
		{"options beyond the packet", put(syn, 14, 0x4f), ReasonIPOptions},
		{"first fragment", put(syn, 20, 0x20, 0), ReasonFragment},
		{"middle fragment", put(syn, 20, 0x20, 0x10), ReasonFragment},
		{"last fragment", put(syn, 20, 0x00, 0x10), ReasonFragment},
		{"fragment of offset 1 with DF", put(syn, 20, 0x40, 0x01), ReasonFragment},
		{"length 0", put(syn, 16, 0, 0), ReasonBadIPHeader},
		{"length below the header's", put(syn, 16, 0, 19), ReasonBadIPHeader},
		{"length of the header alone", put(syn, 16, 0, 20), ReasonTruncated},
		{"length 65535", put(syn, 16, 255, 255), ReasonBadIPHeader},
		{"ICMPv6 in IPv4", inbound(f.client, f.vip).raw(layers.IPProtocolICMPv6, make([]byte, 40)), ReasonNotTCP},
	}
}

func badIPv6(f family) []malformed {
	syn := f.segment(webPort, plainOffer(webPort).syn())
	const next = 20
	return []malformed{
		{"hop-by-hop", put(syn, next, 0), ReasonExtHeader},
		{"routing", put(syn, next, 43), ReasonExtHeader},
		{"fragment", put(syn, next, 44), ReasonExtHeader},
		{"authentication", put(syn, next, 51), ReasonExtHeader},
		{"destination options", put(syn, next, 60), ReasonExtHeader},
		{"mobility", put(syn, next, 135), ReasonExtHeader},
		{"encrypted", put(syn, next, 50), ReasonNotTCP},
		{"no next header", put(syn, next, 59), ReasonNotTCP},
		{"ICMP in IPv6", inbound(f.client, f.vip).raw(layers.IPProtocolICMPv4, make([]byte, 40)), ReasonNotTCP},
		{"payload length 0", put(syn, 18, 0, 0), ReasonTruncated},
		{"payload length 65535", put(syn, 18, 255, 255), ReasonBadIPHeader},
	}
}

// Every number that the next header can be has its reason, and only TCP gets
// past it.
func TestFixtureEveryProtocol(t *testing.T) {
	r := newRig(t)
	w := r.way()
	for _, f := range families {
		at := 23
		if f.vip.Is6() {
			at = 20
		}
		for proto := range 256 {
			frame := put(f.segment(webPort, plainOffer(webPort).syn()), at, byte(proto))
			if got, want := r.send(t, frame).reason, w.reason(frame); got != want {
				t.Errorf("%s protocol %d: reason %s, want %s", f.name, proto, got, want)
			}
		}
	}
}

// way is the oracle of this rig.
func (r *rig) way() *way {
	return &way{
		self: rigSelf, vips: []netip.Addr{vip4, vip6}, services: []uint16{webPort, quietPort},
		primary: r.primaryOf, keys: testKeys(100),
		live: map[[2]netip.AddrPort]bool{}, records: map[record]cookie{},
	}
}

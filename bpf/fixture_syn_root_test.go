// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// ownMSS is what the rig's interface of MTU 1500 takes.
func (f family) ownMSS() uint16 {
	if f.vip.Is4() {
		return 1460
	}
	return 1440
}

// plainOffer is a SYN like a Linux client's.
func plainOffer(port uint16) offer {
	return offer{port: port, isn: 0xfffffff0, mss: 1460, wscale: 7, sack: true, timestamps: true, tsval: 12345}
}

// offers are all combinations of what a SYN may offer.
func offers() (all []offer) {
	scales := []int{-1, 15, 255}
	for i := range 15 {
		scales = append(scales, i)
	}
	for _, mss := range []int{-1, 0, 100, 535, 536, 1219, 1220, 1300, 1359, 1400, 1440, 1459, 1460, 1461, 8940, 65535} {
		for _, scale := range scales {
			for bits := range 16 {
				all = append(all, offer{
					port: webPort, isn: uint32(len(all)) * 2654435761, mss: mss, wscale: scale, tsval: uint32(len(all)) << 7,
					sack: bits&1 != 0, timestamps: bits&2 != 0, ece: bits&4 != 0, cwr: bits&8 != 0,
				})
			}
		}
	}
	return all
}

// The exact SYN/ACK to every combination of options.
func TestFixtureSYNAckToAnyOffer(t *testing.T) {
	r := newRig(t)
	keys := testKeys(100)
	for _, fam := range families {
		r.run(t, fam.name, func(t *testing.T) {
			for _, o := range offers() {
				got := r.expect(t, fam.segment(o.port, o.syn()), ReasonAnswered)
				c := o.cookie(fam, rigOther, keys.Epoch)
				want := fam.answer(o.port, o.synAck(c, keys.Current, fam.ownMSS(), 7))
				if !bytes.Equal(want, got.frame) {
					t.Logf("offer %+v", o)
					expectFrame(t, want, got.frame)
				}
			}
		})
	}
}

// Options may come in any order; unknown ones and those of a wrong length for
// their kind are skipped, and nothing counts behind the end.
func TestFixtureSYNOptionsOfOtherSystems(t *testing.T) {
	r := newRig(t)
	end := layers.TCPOption{OptionType: layers.TCPOptionKindEndList, OptionLength: 1}
	mss, scale, sack, ts := optionMSS(1400), optionScale(8), optionSACK(), optionTimestamps(99, 0)
	all := offer{mss: 1400, wscale: 8, sack: true, timestamps: true, tsval: 99}
	tests := []struct {
		name    string
		options []layers.TCPOption
		want    offer
	}{
		{"none", nil, offer{mss: -1, wscale: -1}},
		{"Windows", []layers.TCPOption{mss, nop, scale, nop, nop, sack}, offer{mss: 1400, wscale: 8, sack: true}},
		{"macOS", []layers.TCPOption{mss, nop, scale, nop, nop, ts, sack, end}, all},
		{"timestamps first", []layers.TCPOption{ts, nop, nop, sack, scale, nop, mss}, all},
		{"Fast Open cookie", []layers.TCPOption{mss, sack, ts, nop, scale, option(34, 1, 2, 3, 4, 5, 6, 7, 8)}, all},
		{"MPTCP", []layers.TCPOption{mss, sack, ts, nop, scale, option(30, 0x01, 0x81)}, all},
		{"unknown ones", []layers.TCPOption{option(253, 1, 2), mss, option(200), ts, sack, scale}, all},
		{"wrong lengths", []layers.TCPOption{option(2, 5), option(3, 8, 8), option(4, 1), option(8, 1, 2, 3, 4)}, offer{mss: -1, wscale: -1}},
		{"behind the end", []layers.TCPOption{mss, end, nop, nop, nop, scale}, offer{mss: 1400, wscale: -1}},
		{"given twice", []layers.TCPOption{optionMSS(9000), scale, nop, mss}, offer{mss: 1400, wscale: 8}},
		{"forty bytes", []layers.TCPOption{mss, ts, sack, scale, nop, option(254, make([]byte, 18)...)}, all},
	}
	keys := testKeys(100)
	for _, fam := range families {
		for _, tt := range tests {
			r.run(t, fam.name+" "+tt.name, func(t *testing.T) {
				o := tt.want
				o.port, o.isn = webPort, 7
				got := r.expect(t, fam.segment(webPort, layers.TCP{SYN: true, Seq: 7, Options: tt.options}), ReasonAnswered)
				c := o.cookie(fam, rigOther, keys.Epoch)
				expectFrame(t, fam.answer(webPort, o.synAck(c, keys.Current, fam.ownMSS(), 7)), got.frame)
			})
		}
	}
}

// What surrounds the options changes nothing: the SYN/ACK is the same.
func TestFixtureSYNAckOfUnusualFrames(t *testing.T) {
	r := newRig(t)
	o, keys := plainOffer(webPort), testKeys(100)
	for _, fam := range families {
		syn := fam.segment(webPort, o.syn())
		want := fam.answer(webPort, o.synAck(o.cookie(fam, rigOther, keys.Epoch), keys.Current, fam.ownMSS(), 7))
		withData := inbound(fam.client, fam.vip)
		tcp := o.syn()
		tcp.SrcPort, tcp.DstPort, tcp.Urgent, tcp.Window = clientPort, webPort, 3, 0
		tcp.PSH, tcp.URG = true, true
		tests := map[string][]byte{
			"Ethernet padding":       append(bytes.Clone(syn), make([]byte, 12)...),
			"data on the SYN":        withData.tcp(tcp, bytes.Repeat([]byte("x"), 1000)),
			"a wrong TCP checksum":   flip(syn, (fam.l4()+16)*8),
			"traffic class and flow": trafficClass(fam, syn),
		}
		for name, frame := range tests {
			r.run(t, fam.name+" "+name, func(t *testing.T) {
				expectFrame(t, want, r.expect(t, frame, ReasonAnswered).frame)
			})
		}
	}
}

// flip turns one bit of a copy, counted from the first byte's highest.
func flip(frame []byte, at int) []byte {
	out := bytes.Clone(frame)
	out[at/8] ^= 0x80 >> (at % 8)
	return out
}

func trafficClass(fam family, frame []byte) []byte {
	out := bytes.Clone(frame)
	if fam.vip.Is4() {
		out[15] = 0xba           // DSCP EF, ECT(0)
		out[18], out[19] = 1, 2  // identification
		out[20], out[21] = 64, 0 // DF
		return out
	}
	out[14], out[15], out[16], out[17] = 0x6b, 0xa1, 0x23, 0x45
	return out
}

func TestFixtureSYNReasons(t *testing.T) {
	for _, fam := range families {
		for _, timestamps := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s timestamps=%t", fam.name, timestamps), func(t *testing.T) {
				testSYNReasons(t, newRig(t), fam, timestamps)
			})
		}
	}
}

func testSYNReasons(t *testing.T, r *rig, fam family, timestamps bool) {
	o := plainOffer(webPort)
	o.timestamps = timestamps
	syn := fam.segment(webPort, o.syn())
	r.run(t, "no service", func(t *testing.T) {
		got := r.expect(t, fam.segment(noPort, o.syn()), ReasonRefusedNoService)
		expectFrame(t, fam.answer(noPort, layers.TCP{RST: true, ACK: true, Ack: o.isn + 1}), got.frame)
	})
	r.run(t, "no service, another's slot", func(t *testing.T) {
		r.setPrimary(t, rigOther)
		defer r.setPrimary(t, rigSelf)
		r.expect(t, fam.segment(noPort, o.syn()), ReasonNotPrimary)
	})
	r.run(t, "another's slot", func(t *testing.T) {
		r.setPrimary(t, rigOther)
		defer r.setPrimary(t, rigSelf)
		r.expect(t, syn, ReasonNotPrimary)
	})
	r.run(t, "nobody's slot", func(t *testing.T) {
		r.setPrimary(t, topology.Undecided)
		defer r.setPrimary(t, rigSelf)
		r.expect(t, syn, ReasonNotPrimary)
	})
	r.run(t, "no node", func(t *testing.T) {
		r.setOwner(t, webService)
		defer r.setOwner(t, webService, rigOther)
		r.expect(t, syn, ReasonNoNode)
	})
	r.run(t, "no key", func(t *testing.T) {
		r.setKeys(t, CookieKeys{Epoch: 100})
		defer r.setKeys(t, testKeys(100))
		r.expect(t, syn, ReasonNotReady)
	})
	r.run(t, "no id", func(t *testing.T) {
		id := r.f.config.Self
		r.f.config.Self = 0
		defer func() { r.f.config.Self = id }()
		r.setKeys(t, testKeys(100)) // writes the whole configuration
		r.expect(t, syn, ReasonNotReady)
	})
}

func (r *rig) setKeys(t testing.TB, keys CookieKeys) {
	t.Helper()
	if err := r.f.SetCookieKeys(keys); err != nil {
		t.Fatal(err)
	}
}

// A client without timestamps: its options wait at every node that saw the SYN,
// and the owner, whose copy may be lost, gets another from the scheduler.
func TestFixtureSYNRecordAndCopy(t *testing.T) {
	r := newRig(t)
	for _, fam := range families {
		o := plainOffer(webPort)
		o.timestamps = false
		syn := fam.segment(webPort, o.syn())
		key := onevipOvSynKey{Flow: fam.flow(webPort), Isn: o.isn}
		r.run(t, fam.name+" is recorded by others too", func(t *testing.T) {
			r.setPrimary(t, rigOther)
			defer r.setPrimary(t, rigSelf)
			r.expect(t, syn, ReasonNotPrimary)
			var got onevipOvOptions
			if err := r.f.objs.SynRecords.LookupAndDelete(key, &got); err != nil {
				t.Fatal(err)
			}
			if want := (onevipOvOptions{Wscale: 7, Sack: 1, MssIndex: 6}); got != want {
				t.Fatalf("record %+v, want %+v", got, want)
			}
		})
		r.run(t, fam.name+" is copied to the owner", func(t *testing.T) {
			r.expect(t, syn, ReasonAnswered)
			e := inbound(fam.client, fam.vip)
			e.fromMAC, e.toMAC = clusterMAC, otherMAC[:]
			want := append(append(bytes.Clone(e.toMAC), e.fromMAC...), syn[12:]...)
			if r.heard(t, func(f []byte) bool { return bytes.Equal(f, want) }) == nil {
				t.Fatal("the owner got no copy of the SYN")
			}
		})
		r.run(t, fam.name+" is not copied to ourselves", func(t *testing.T) {
			r.setOwner(t, webService, rigSelf)
			defer r.setOwner(t, webService, rigOther)
			r.expect(t, syn, ReasonAnswered)
			if f := r.heard(t, func([]byte) bool { return true }); f != nil {
				t.Fatalf("sent %x", f)
			}
		})
		r.run(t, fam.name+" with timestamps leaves no record", func(t *testing.T) {
			o.timestamps, o.isn = true, 4711
			r.expect(t, fam.segment(webPort, o.syn()), ReasonAnswered)
			key.Isn = o.isn
			var got onevipOvOptions
			if err := r.f.objs.SynRecords.Lookup(key, &got); err == nil {
				t.Fatalf("recorded %+v", got)
			}
		})
	}
}

// flow is the key under which the maps know the client's connection.
func (f family) flow(port uint16) onevipOvFlow {
	return onevipOvFlow{
		Client: address(f.client), Vip: address(f.vip),
		ClientPort: networkOrder(clientPort), VipPort: networkOrder(port),
	}
}

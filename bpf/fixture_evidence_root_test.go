// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// Evidence of an answer ends the waiting; what only looks like it does not.
func TestFixtureEvidence(t *testing.T) {
	r := newSecondary(t, time.Minute)
	key := testKeys(100).Current
	for _, f := range families {
		for _, timestamps := range []bool{true, false} {
			o := plainOffer(webPort)
			o.timestamps = timestamps
			syn := f.segment(webPort, o.syn())
			c := o.cookie(f, rigOther, 100)
			ack, synAck := c.ack(key), o.synAck(c, key, f.ownMSS(), 7)
			change := func(tcp layers.TCP, edit func(*layers.TCP)) layers.TCP { edit(&tcp); return tcp }
			elsewhere := f
			elsewhere.client = f.remote().client
			tests := []struct {
				name   string
				frame  []byte
				reason Reason
				ends   bool
			}{
				{"the client's ACK", f.segment(webPort, ack), ReasonForeign, true},
				{"the mirrored SYN/ACK", f.mirrored(webPort, synAck), ReasonMirrored, true},
				{"an ACK of another sequence number", f.segment(webPort, change(ack, func(tcp *layers.TCP) { tcp.Seq++ })), ReasonForeign, false},
				{"an ACK with a forged cookie", f.segment(webPort, change(ack, func(tcp *layers.TCP) { tcp.Ack ^= 1 })), ReasonForeign, false},
				{"another client's ACK", elsewhere.segment(webPort, ack), ReasonForeign, false},
				{"a RST", f.segment(webPort, change(ack, func(tcp *layers.TCP) { tcp.RST = true })), ReasonForeign, false},
				{"a SYN/ACK to another ISN", f.mirrored(webPort, change(synAck, func(tcp *layers.TCP) { tcp.Ack++ })), ReasonMirrored, false},
				{"a SYN/ACK to another client", elsewhere.mirrored(webPort, synAck), ReasonMirrored, false},
				{"a SYN/ACK of another port", f.mirrored(quietPort, synAck), ReasonMirrored, false},
				{"a segment that is no SYN/ACK", f.mirrored(webPort, change(synAck, func(tcp *layers.TCP) { tcp.SYN = false })), ReasonNotVIP, false},
			}
			for _, tt := range tests {
				r.run(t, f.name+" "+tt.name, func(t *testing.T) {
					r.expectAwaiting(t, syn)
					r.expect(t, tt.frame, tt.reason)
					if waits := r.awaits(t, f, o.isn); waits == tt.ends {
						t.Fatalf("timestamps=%t: the SYN waits: %t, want %t", timestamps, waits, !tt.ends)
					}
					r.expect(t, f.mirrored(webPort, synAck), ReasonMirrored)
				})
			}
		}
	}
}

// A member that is named gets a copy of a SYN without timestamps from whoever
// answers it: that is no second SYN, and shows that the first is answered.
func TestFixtureCopiedSYN(t *testing.T) {
	r := newSecondary(t, time.Minute)
	for _, f := range families {
		o := plainOffer(webPort)
		o.timestamps = false
		tcp := o.syn()
		tcp.SrcPort, tcp.DstPort = clientPort, webPort
		copied := inbound(f.client, f.vip)
		copied.fromMAC = otherMAC[:]
		r.roles(t, Slot{Primary: rigOther, Secondary: rigSelf})
		r.expectAwaiting(t, f.segment(webPort, o.syn()))
		r.expect(t, copied.tcp(tcp, nil), ReasonSYNCopy)
		if r.awaits(t, f, o.isn) {
			t.Fatalf("%s: the SYN still waits", f.name)
		}
		r.roles(t, Slot{Primary: rigSelf, Former: rigOther})
		r.expect(t, copied.tcp(tcp, nil), ReasonSYNCopy)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// A handshake to the quiet service that names the rig's node: if the cookie is
// accepted, the answer is RESET_NO_LISTENER, since nobody listens there.
func (f family) handshake(timestamps bool) cookie {
	o := plainOffer(quietPort)
	o.timestamps, o.isn, o.ece, o.cwr = timestamps, 5000, true, true
	return o.cookie(f, rigSelf, 100)
}

// remember puts the record of the handshake's SYN where on_syn would.
func (r *rig) remember(t testing.TB, f family, c cookie) {
	t.Helper()
	f.client = c.client.Addr()
	key := onevipOvSynKey{Flow: f.flow(c.vip.Port()), Isn: c.clientISN}
	key.Flow.ClientPort = networkOrder(c.client.Port())
	record := onevipOvOptions{Wscale: c.wscale, Sack: bit(c.sack), Ecn: bit(c.ecn), MssIndex: c.mssIndex}
	if err := r.f.objs.SynRecords.Put(key, record); err != nil {
		t.Fatal(err)
	}
}

// eachHandshake runs a test for both families, with and without timestamps.
func (r *rig) eachHandshake(t *testing.T, test func(t *testing.T, f family, c cookie)) {
	t.Helper()
	for _, f := range families {
		for _, timestamps := range []bool{true, false} {
			r.run(t, fmt.Sprintf("%s timestamps=%t", f.name, timestamps), func(t *testing.T) {
				c := f.handshake(timestamps)
				if !timestamps {
					r.remember(t, f, c)
				}
				test(t, f, c)
			})
		}
	}
}

func TestFixtureValidCookieWithoutListener(t *testing.T) {
	r := newRig(t)
	key := testKeys(100).Current
	r.eachHandshake(t, func(t *testing.T, f family, c cookie) {
		ack := c.ack(key)
		got := r.expect(t, f.segment(quietPort, ack), ReasonResetNoListener)
		expectFrame(t, f.answer(quietPort, layers.TCP{RST: true, Seq: ack.Ack}), got.frame)

		withData := ack
		withData.PSH, withData.SrcPort, withData.DstPort = true, clientPort, quietPort
		frame := inbound(f.client, f.vip).tcp(withData, make([]byte, 900))
		got = r.expect(t, frame, ReasonResetNoListener)
		expectFrame(t, f.answer(quietPort, layers.TCP{RST: true, Seq: ack.Ack}), got.frame)
	})
}

// The answer of one node is taken by the other that it names: every offer's
// cookie is accepted, whatever the options.
func TestFixtureOwnAnswersAreAccepted(t *testing.T) {
	r := newRig(t)
	r.setOwner(t, quietService, rigSelf)
	for _, f := range families {
		r.run(t, f.name, func(t *testing.T) {
			for i, o := range offers() {
				if i%7 != 0 {
					continue
				}
				o.port = quietPort
				r.expect(t, f.segment(quietPort, o.syn()), ReasonAnswered)
				c := o.cookie(f, rigSelf, 100)
				if got := r.send(t, f.segment(quietPort, c.ack(testKeys(100).Current))); got.reason != ReasonResetNoListener {
					t.Fatalf("reason %s, want %s for offer %+v", got.reason, ReasonResetNoListener, o)
				}
			}
		})
	}
}

// The kfunc works on a packet of a real interface only: it refuses every test
// run. That it was asked proves that all checks before it let the segment by.
// TestFixtureAdoption has the rest of the way.
func TestFixtureValidCookieWithListener(t *testing.T) {
	r := newRig(t)
	key := testKeys(100).Current
	r.eachHandshake(t, func(t *testing.T, f family, c cookie) {
		c.vip = f.to(webPort)
		if !c.timestamps {
			r.remember(t, f, c)
		}
		ack := f.segment(webPort, c.ack(key))
		r.listen(t, c.vip).Close()
		r.expect(t, ack, ReasonResetNoListener)
		l := r.listen(t, c.vip)
		r.expect(t, ack, ReasonAdoptRefused)
		l.Close()
		l = r.listenAs(t, c.vip, true)
		r.expect(t, ack, ReasonAdoptMPTCP)
		l.Close()
	})
}

// listen opens a plain TCP listener that lives as long as the test at most.
func (r *rig) listen(t testing.TB, at netip.AddrPort) *net.TCPListener {
	t.Helper()
	return r.listenAs(t, at, false)
}

func (r *rig) listenAs(t testing.TB, at netip.AddrPort, multipath bool) *net.TCPListener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(multipath)
	l, err := lc.Listen(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// Whatever bit of a segment is changed, of those that the MAC covers, the
// segment is nothing to us.
func TestFixtureForgedCookie(t *testing.T) {
	r := newRig(t)
	key := testKeys(100).Current
	r.eachHandshake(t, func(t *testing.T, f family, c cookie) {
		frame := f.segment(quietPort, c.ack(key))
		l4 := f.l4() * 8
		for i := range 32 {
			want := ReasonCookieMismatch
			switch {
			case i < 8:
				want = ReasonForeign // the owner's byte
			case i == 11 || i == 12:
				want = epochBitReason(c, i)
			}
			r.expectFlipped(t, frame, l4+64+i, c, want)
		}
		changed := ReasonCookieNoRecord // the record is of another tuple or ISN
		if c.timestamps {
			changed = ReasonCookieMismatch
		}
		for i := range 16 {
			r.expectFlipped(t, frame, l4+i, c, changed) // client port
		}
		for i := range 32 {
			r.expectFlipped(t, frame, l4+32+i, c, changed) // client ISN
		}
		address := (f.l4() - f.client.BitLen()/4) * 8
		for i := range f.client.BitLen() {
			if i == f.client.BitLen()-9 && f.vip.Is4() || i == 111 { // makes the client the VIP: LAND
				continue
			}
			r.expectFlipped(t, frame, address+i, c, changed)
		}
		for i := 0; c.timestamps && i < 32; i++ {
			r.expectFlipped(t, frame, l4+(20+2+6)*8+i, c, ReasonCookieMismatch) // TSecr
		}
	})
}

// epochBitReason is for a flip of bit 11 or 12 of the acknowledgement: another
// epoch's key, which says no, or the one place where no key is.
func epochBitReason(c cookie, at int) Reason {
	ack := c.isn(testKeys(100).Current) + 1
	ack ^= 1 << (31 - at)
	if (ack-1)>>19&3 == (c.epoch+2)&3 {
		return ReasonCookieExpired
	}
	return ReasonCookieMismatch
}

func (r *rig) expectFlipped(t *testing.T, frame []byte, at int, c cookie, want Reason) {
	t.Helper()
	if got := r.send(t, flip(frame, at)); got.reason != want {
		t.Fatalf("bit %d flipped: reason %s, want %s of %+v", at, got.reason, want, c)
	}
}

// A cookie outlives one rotation, not two.
func TestFixtureCookieEpochs(t *testing.T) {
	r := newRig(t)
	defer r.setKeys(t, testKeys(100))
	old := testKeys(100).Current
	tests := []struct {
		name string
		keys CookieKeys
		want Reason
	}{
		{"a node that has rotated earlier", testKeys(101), ReasonResetNoListener},
		{"a node that rotates later", testKeys(99), ReasonResetNoListener},
		{"rotated twice", testKeys(102), ReasonCookieExpired},
		{"rotated three times", testKeys(103), ReasonCookieMismatch}, // the place has the next key
		{"the same two bits four rotations later", testKeys(104), ReasonCookieMismatch},
		{"the same key in another epoch", CookieKeys{Epoch: 104, Previous: old, Current: old, Next: old}, ReasonCookieMismatch},
		{"another key", CookieKeys{Epoch: 100, Current: [16]byte{1}}, ReasonCookieMismatch},
		{"a key that was withdrawn", CookieKeys{Epoch: 101, Current: [16]byte{1}}, ReasonCookieExpired},
		{"no key", CookieKeys{Epoch: 100}, ReasonCookieExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.enter(t)
			r.setKeys(t, tt.keys)
			r.eachHandshake(t, func(t *testing.T, f family, c cookie) {
				r.expect(t, f.segment(quietPort, c.ack(old)), tt.want)
			})
		})
	}
}

// New cookies are of the current epoch.
func TestFixtureSYNAckAfterRotation(t *testing.T) {
	r := newRig(t)
	for epoch := uint32(100); epoch < 105; epoch++ {
		r.setKeys(t, testKeys(epoch))
		for _, f := range families {
			o := plainOffer(webPort)
			got := r.expect(t, f.segment(webPort, o.syn()), ReasonAnswered)
			key := testKeys(epoch).Current
			want := f.answer(webPort, o.synAck(o.cookie(f, rigOther, epoch), key, f.ownMSS(), 7))
			expectFrame(t, want, got.frame)
		}
	}
}

// Segments without a socket that can't finish a handshake, whatever they
// acknowledge.
func TestFixtureForeign(t *testing.T) {
	r := newRig(t)
	key := testKeys(100).Current
	for _, f := range families {
		c := f.handshake(true)
		elsewhere := c
		elsewhere.owner = rigOther
		undecided := c
		undecided.owner = topology.Undecided
		change := func(c cookie, edit func(*layers.TCP)) layers.TCP {
			tcp := c.ack(key)
			edit(&tcp)
			return tcp
		}
		tests := map[string]layers.TCP{
			"cookie names another":  elsewhere.ack(key),
			"cookie names nobody":   undecided.ack(key),
			"SYN/ACK with a cookie": change(c, func(tcp *layers.TCP) { tcp.SYN = true }),
			"RST with a cookie":     change(c, func(tcp *layers.TCP) { tcp.RST = true }),
			"bare RST":              {RST: true, Seq: 5001},
			"data of another's":     change(elsewhere, func(tcp *layers.TCP) { tcp.PSH, tcp.Seq = true, 900000 }),
			"FIN of another's":      change(elsewhere, func(tcp *layers.TCP) { tcp.FIN = true }),
		}
		for name, tcp := range tests {
			r.run(t, f.name+" "+name, func(t *testing.T) {
				r.expect(t, f.segment(quietPort, tcp), ReasonForeign)
			})
		}
	}
}

// Malformed options of a segment that would else be adopted.
func TestFixtureBadOptionsOfCookie(t *testing.T) {
	r := newRig(t)
	key := testKeys(100).Current
	for _, f := range families {
		tcp := f.handshake(true).ack(key)
		frame := f.segment(quietPort, tcp)
		frame[f.l4()+21] = 8 // the second NOP becomes an option that eats the next byte as its length
		frame[f.l4()+22] = 0
		r.run(t, f.name, func(t *testing.T) { r.expect(t, frame, ReasonBadTCPOptions) })
	}
}

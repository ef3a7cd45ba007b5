// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// silence ages the SYN/ACK that the client got.
func (r *rig) silence(t testing.TB, in inspection, age time.Duration) {
	t.Helper()
	u := r.kept(t, in.family)
	now, err := Now()
	if r.check(err); u == nil {
		t.Fatal("no SYN/ACK is kept")
	}
	u.At = uint64(now - age)
	r.check(r.f.objs.Unheard.Put(in.flow(webPort), u))
}

// greet sends the SYN of the handshake.
func (r *rig) greet(t testing.TB, in inspection) {
	t.Helper()
	o := plainOffer(webPort)
	o.timestamps, o.isn = in.c.timestamps, in.c.clientISN
	r.expect(t, in.segment(webPort, o.syn()), ReasonAnswered)
}

// A client that asks for nothing: its SYN/ACK is sent again, and its answer to that
// decides.
func TestFixtureSilentClient(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.check(r.f.SetServices([]Service{inspected(testRules())}))
		r.greet(t, in)
		r.silence(t, in, 4*time.Second)         // far away, or its first SYN/ACKs were lost
		r.expect(t, in.bare(), ReasonUndecided) // from here on it is silent
		for _, age := range []time.Duration{0, 2900 * time.Millisecond} {
			r.silence(t, in, age)
			r.expect(t, in.bare(), ReasonUndecided)
		}
		r.silence(t, in, 3*time.Second)
		for range 2 { // each answer to each SYN/ACK
			got := r.expect(t, in.bare(), ReasonHandedOver)
			expectFrame(t, in.handed(0, clusterMAC, macOf(otherMAC)), got.frame)
		}
		r.expect(t, in.request(0, 100), ReasonHandedOver) // late, and to the same
		if r.kept(t, in.family) != nil {
			t.Error("a client that was heard will get its SYN/ACK again")
		}
	})
}

func TestFixtureSilentClientIsClosed(t *testing.T) {
	r := newInspecting(t)
	rules := testRules()
	rules.Close = true
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.greet(t, in)
		r.expect(t, in.bare(), ReasonUndecided)
		r.silence(t, in, 3*time.Second)
		other := in
		other.c.mssIndex = 2 // another SYN/ACK than the one that was sent again
		r.expect(t, other.bare(), ReasonUndecided)
		r.silence(t, in, 3*time.Second)
		got := r.expect(t, other.bare(), ReasonSilentClosed)
		rst := in.answer(webPort, layers.TCP{RST: true, Seq: other.c.isn(in.key) + 1})
		expectFrame(t, rst, got.frame)
		expectFrame(t, rst, r.expect(t, other.request(0, 100), ReasonSilentClosed).frame) // was on its way
		r.expect(t, other.request(100, 100), ReasonForeign)
		if r.kept(t, in.family) != nil {
			t.Error("a client that is gone will get its SYN/ACK again")
		}
	})
}

// The client's ACK has all that its SYN/ACK is to be sent again by.
func TestFixtureSilentClientWithoutEntry(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonUndecided)
		u := r.kept(t, in.family)
		if u == nil || u.Silent != 3000 {
			t.Fatalf("kept %+v, want a SYN/ACK that is sent again after 3000 ms", u)
		}
		o := plainOffer(webPort)
		o.timestamps, o.isn, o.tsval = in.c.timestamps, in.c.clientISN, 777
		expectFrame(t, in.answer(webPort, o.synAck(in.c, in.key, in.ownMSS(), 7)), u.Frame[:u.Len])
		r.silence(t, in, 3*time.Second)
		r.expect(t, in.bare(), ReasonHandedOver)
	})
}

// Where nobody would send the SYN/ACK again, the first ACK decides.
func TestFixtureSilentClientAtOnce(t *testing.T) {
	r := newInspecting(t)
	rules := testRules()
	rules.Close = true // that is for those who were given time
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	now, err := Now()
	r.check(err)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.fillUnheard(t)
		r.expect(t, in.bare(), ReasonHandedOver)
		r.forgetHandovers(t)
		r.forgetUnheard(t)
		r.check(r.f.pulseAt(now - 5*time.Second))
		r.greet(t, in)
		r.expect(t, in.bare(), ReasonHandedOver)
		r.check(r.f.pulseAt(now))
	})
}

func (r *rig) forgetUnheard(t testing.TB) {
	t.Helper()
	r.check(deleteOthers(r.f.objs.Unheard, func(onevipOvFlow) bool { return false }))
}

// fillUnheard leaves no room for a SYN/ACK.
func (r *rig) fillUnheard(t testing.TB) {
	t.Helper()
	r.forgetUnheard(t)
	key := families[0].flow(webPort)
	for i := range r.f.objs.Unheard.MaxEntries() {
		key.Pad = i + 1
		r.check(r.f.objs.Unheard.Put(key, onevipOvUnheard{}))
	}
}

// SYNs, which may all be spoofed, leave room for the clients who are connected.
func TestFixtureSilentFlood(t *testing.T) {
	r := newInspecting(t)
	in := families[0].inspection(true, rigSelf)
	var second onevipOvPace
	waitFor(t, "a thousand SYNs in one second", func() bool {
		now, err := Now()
		r.check(err)
		second = onevipOvPace{Second: uint32(now / time.Second), Times: 1024}
		r.check(r.f.objs.Paces.Put(uint32(1), second))
		r.greet(t, in)
		var after onevipOvPace
		r.check(r.f.objs.Paces.Lookup(uint32(1), &after))
		return after == second
	})
	if u := r.kept(t, in.family); u != nil {
		t.Fatalf("kept %+v for one SYN more", u)
	}
	r.expect(t, in.bare(), ReasonUndecided)
	if r.kept(t, in.family) == nil {
		t.Fatal("a client that is connected is not kept")
	}
}

// An inspector's SYN/ACKs are sent again when the service says, and twice more.
func TestFixtureSilentSchedule(t *testing.T) {
	r := newInspecting(t)
	in := families[1].inspection(true, rigSelf)
	rules := testRules()
	rules.Silent = 500 * time.Millisecond
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	r.greet(t, in)
	at := time.Duration(r.kept(t, in.family).At)
	var sent []time.Duration
	for age := time.Duration(0); age < 10*time.Second; age += 250 * time.Millisecond {
		frames, err := r.f.Unheard(at + age)
		if r.check(err); len(frames) > 0 {
			sent = append(sent, age)
		}
	}
	want := []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond}
	if len(sent) != 3 || sent[0] != want[0] || sent[1] != want[1] || sent[2] != want[2] {
		t.Errorf("sent after %v, want %v", sent, want)
	}
	if r.kept(t, in.family) != nil {
		t.Error("kept for ever")
	}
}

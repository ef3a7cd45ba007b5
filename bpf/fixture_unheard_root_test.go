// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
)

// named is a handshake whose SYN/ACK names the rig's node, answered by another.
type named struct {
	family
	offer
	c      cookie
	syn    []byte
	synAck layers.TCP
}

func nameSelf(f family, timestamps bool) named {
	n := named{family: f, offer: plainOffer(webPort)}
	n.timestamps = timestamps
	n.c = n.cookie(f, rigSelf, 100)
	n.family = f
	n.syn = f.segment(webPort, n.offer.syn())
	n.synAck = n.offer.synAck(n.c, testKeys(100).Current, f.ownMSS(), 7)
	return n
}

// kept is what the map has of the flow; nil: nothing.
func (r *rig) kept(t testing.TB, f family) *onevipOvUnheard {
	t.Helper()
	var u onevipOvUnheard
	err := r.f.objs.Unheard.Lookup(f.flow(webPort), &u)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return &u
}

// keep has the rig's node named once more.
func (r *rig) keep(t testing.TB, n named) {
	t.Helper()
	r.expect(t, n.syn, ReasonNotPrimary)
	r.expect(t, n.mirrored(webPort, n.synAck), ReasonMirrored)
	if r.kept(t, n.family) == nil {
		t.Fatal("the SYN/ACK is not kept")
	}
}

// eachNamed runs a test for both families, with and without timestamps, on a node
// that is not the primary.
func eachNamed(t *testing.T, test func(t *testing.T, r *rig, n named)) {
	r := newRig(t)
	r.setPrimary(t, rigThird)
	for _, f := range families {
		for _, timestamps := range []bool{true, false} {
			r.run(t, fmt.Sprintf("%s timestamps=%t", f.name, timestamps), func(t *testing.T) {
				test(t, r, nameSelf(f, timestamps))
			})
		}
	}
}

// What is kept is the SYN/ACK that went by, addressed from here to the client.
func TestFixtureUnheardIsKept(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		other := n.cookie(n.family, rigOther, 100)
		r.expect(t, n.syn, ReasonNotPrimary)
		r.expect(t, n.mirrored(webPort, n.offer.synAck(other, testKeys(100).Current, n.ownMSS(), 7)), ReasonMirrored)
		if u := r.kept(t, n.family); u != nil {
			t.Fatalf("kept what names another: %x", u.Frame)
		}
		r.keep(t, n)
		u := r.kept(t, n.family)
		expectFrame(t, n.answer(webPort, n.synAck), u.Frame[:u.Len])

		second := n.synAck
		second.Seq ^= 1
		r.expect(t, n.mirrored(webPort, second), ReasonMirrored)
		if again := r.kept(t, n.family); *again != *u {
			t.Fatal("a second SYN/ACK of the same handshake took the first one's place")
		}
		next := n
		next.isn += 1000
		next.c = next.cookie(n.family, rigSelf, 100)
		next.synAck = next.offer.synAck(next.c, testKeys(100).Current, n.ownMSS(), 7)
		r.expect(t, n.mirrored(webPort, next.synAck), ReasonMirrored)
		if now := r.kept(t, n.family); now == nil || now.Isn != next.isn {
			t.Fatalf("kept %+v, want the later handshake's", now)
		}
	})
}

// Without a SYN that tells where the client is, there is nowhere to send it.
func TestFixtureUnheardWithoutSYN(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		n.client = n.remote().client
		n.c = n.cookie(n.family, rigSelf, 100)
		r.expect(t, n.mirrored(webPort, n.synAck), ReasonMirrored)
		if u := r.kept(t, n.family); u != nil {
			t.Fatalf("kept %+v", u)
		}
	})
}

// A scheduler that names itself sees no mirror of its own SYN/ACK.
func TestFixtureUnheardOwnAnswer(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		r.setPrimary(t, rigSelf)
		r.setOwner(t, webService, rigSelf)
		defer r.setPrimary(t, rigThird)
		got := r.expect(t, n.syn, ReasonAnswered)
		u := r.kept(t, n.family)
		if u == nil || u.Isn != n.isn || u.Answer != n.synAck.Seq {
			t.Fatalf("kept %+v, want ISN %d answered by %d", u, n.isn, n.synAck.Seq)
		}
		expectFrame(t, got.frame, u.Frame[:u.Len])
		r.setOwner(t, webService, rigOther)
		n.isn++
		r.expect(t, n.segment(webPort, n.offer.syn()), ReasonAnswered)
		if u := r.kept(t, n.family); u != nil {
			t.Fatalf("kept %+v of a handshake that names another", u)
		}
	})
}

// The SYN/ACK is forgotten as soon as the client shows that it chose another, has
// given up or begins anew; and not before.
func TestFixtureUnheardIsForgotten(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		key := testKeys(100).Current
		other := n.cookie(n.family, rigOther, 100)
		r.listen(t, n.to(webPort))
		change := func(tcp layers.TCP, edit func(*layers.TCP)) []byte { edit(&tcp); return n.segment(webPort, tcp) }
		elsewhere := n.family
		elsewhere.client = n.remote().client
		anew := n.offer
		anew.isn += 77777
		anewAck := anew.synAck(anew.cookie(n.family, rigOther, 100), key, n.ownMSS(), 7)
		tests := []struct {
			name  string
			frame []byte
			gone  bool
		}{
			{"an ACK that names another", n.segment(webPort, other.ack(key)), true},
			{"later data to another", change(other.ack(key), func(tcp *layers.TCP) { tcp.Seq += 100000; tcp.Ack += 5000 }), true},
			{"a RST to the SYN/ACK", n.segment(webPort, layers.TCP{RST: true, Seq: n.isn + 1}), true},
			{"a SYN with another ISN", n.segment(webPort, anew.syn()), true},
			{"a SYN/ACK to another ISN", n.mirrored(webPort, anewAck), true},
			{"an ACK that names us", n.segment(webPort, n.c.ack(key)), false},
			{"data to us", change(n.c.ack(key), func(tcp *layers.TCP) { tcp.Seq += 500 }), false},
			{"an old connection's segment", change(other.ack(key), func(tcp *layers.TCP) { tcp.Seq -= 2 }), false},
			{"a RST of another connection", n.segment(webPort, layers.TCP{RST: true, Seq: n.isn}), false},
			{"another client's ACK", elsewhere.segment(webPort, other.ack(key)), false},
			{"the SYN again", n.syn, false},
			{"the SYN/ACK again", n.mirrored(webPort, n.synAck), false},
		}
		for _, tt := range tests {
			r.run(t, tt.name, func(t *testing.T) {
				r.keep(t, n)
				r.send(t, tt.frame)
				if gone := r.kept(t, n.family) == nil; gone != tt.gone {
					t.Fatalf("forgotten: %t, want %t", gone, tt.gone)
				}
			})
		}
	})
}

// A client that is told that nobody listens needs no SYN/ACK any more.
func TestFixtureUnheardAfterReset(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		r.keep(t, n)
		r.expect(t, n.segment(webPort, n.c.ack(testKeys(100).Current)), ReasonResetNoListener)
		if r.kept(t, n.family) != nil {
			t.Fatal("the SYN/ACK is still kept")
		}
	})
}

// With the socket, the SYN/ACK has done its work.
func TestFixtureUnheardUntilAdopted(t *testing.T) {
	r := newRig(t)
	r.openWire(t)
	r.watchSockets(t)
	for _, f := range families {
		f = f.remote()
		l := r.listen(t, f.to(webPort))
		n := nameSelf(f, true)
		r.check(r.f.objs.Unheard.Put(f.flow(webPort), onevipOvUnheard{Isn: n.isn, Answer: n.synAck.Seq}))
		r.expectOnWire(t, func() { r.write(t, n.c.frame(testKeys(100).Current)) }, ReasonAdopted)
		accept(t, l).Close()
		if r.kept(t, f) != nil {
			t.Fatalf("%s: the SYN/ACK is still kept", f.name)
		}
	}
}

// They are sent again after 1, 3 and 7 s, each once, and forgotten after 8.
func TestFixtureUnheardSchedule(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		r.keep(t, n)
		u := r.kept(t, n.family)
		var sent []time.Duration
		for age := time.Duration(0); age <= 8*time.Second; age += 250 * time.Millisecond {
			frames, err := r.f.Unheard(time.Duration(u.At) + age)
			r.check(err)
			for _, frame := range frames {
				expectFrame(t, n.answer(webPort, n.synAck), frame)
				sent = append(sent, age)
			}
		}
		if diff := cmp.Diff([]time.Duration{time.Second, 3 * time.Second, 7 * time.Second}, sent); diff != "" {
			t.Errorf("sent after (-want +got):\n%s", diff)
		}
		if r.kept(t, n.family) == nil {
			t.Error("forgotten too early")
		}
		frames, err := r.f.Unheard(time.Duration(u.At) + 9*time.Second)
		if r.check(err); len(frames) > 0 || r.kept(t, n.family) != nil {
			t.Errorf("after 9 s: %d frames to send, kept %+v", len(frames), r.kept(t, n.family))
		}
	})
}

// An agent that was away sends each at most once, and none that is too old.
func TestFixtureUnheardAfterPause(t *testing.T) {
	eachNamed(t, func(t *testing.T, r *rig, n named) {
		r.keep(t, n)
		at := time.Duration(r.kept(t, n.family).At)
		r.f.again = resends{}
		for i, want := range []int{1, 0} {
			frames, err := r.f.Unheard(at + 4*time.Second + time.Duration(i))
			if r.check(err); len(frames) != want {
				t.Errorf("%d frames, want %d", len(frames), want)
			}
		}
		r.check(r.f.objs.Unheard.Delete(n.flow(webPort)))
	})
}

// No room: that is counted, and what is kept stays.
func TestFixtureTooManyUnheard(t *testing.T) {
	r := newRig(t)
	r.setOwner(t, webService, rigSelf)
	f := families[0]
	room := int(r.f.objs.Unheard.MaxEntries())
	syn := func(port int) []byte {
		tcp := plainOffer(webPort).syn()
		tcp.SrcPort, tcp.DstPort = layers.TCPPort(port), webPort
		return inbound(f.client, f.vip).tcp(tcp, nil)
	}
	for i := range room {
		r.expect(t, syn(10000+i), ReasonAnswered)
	}
	if n := r.counted(t, ReasonUnheardFull); n != 0 {
		t.Fatalf("full %d times before it can be", n)
	}
	if got := r.expect(t, syn(20000), ReasonAnswered); bytes.Equal(got.frame, syn(20000)) {
		t.Fatal("the SYN was not answered")
	}
	if n := r.counted(t, ReasonUnheardFull); n != 1 {
		t.Fatalf("full %d times, want 1", n)
	}
}

// Many that are due at once are sent in portions, each once.
func TestFixtureUnheardInPortions(t *testing.T) {
	needRoot(t)
	const total = 2*resendsAtOnce + 1
	f, err := loadUnpinned(Options{Unheard: total}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	key := families[0].flow(webPort)
	for i := range total {
		key.Pad = uint32(i)
		if err := f.objs.Unheard.Put(key, onevipOvUnheard{At: 1, Len: 60}); err != nil {
			t.Fatal(err)
		}
	}
	var portions []int
	for range 4 {
		frames, err := f.Unheard(time.Second + 1)
		if err != nil {
			t.Fatal(err)
		}
		portions = append(portions, len(frames))
	}
	if diff := cmp.Diff([]int{resendsAtOnce, resendsAtOnce, 1, 0}, portions); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// A look that can find nothing due is not made: it would read the whole map, up to 40
// times a second. What comes meanwhile is found in time.
func TestFixtureUnheardIsNotLookedAtInVain(t *testing.T) {
	r := newRig(t)
	rules := testRules()
	rules.Silent = 100 * time.Millisecond
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	const at = time.Hour
	key := families[0].flow(webPort)
	put := func(after time.Duration, silent uint32) {
		key.Pad++
		r.check(r.f.objs.Unheard.Put(key, onevipOvUnheard{At: uint64(at + after), Len: 60, Silent: silent}))
	}
	r.f.again = resends{}
	looks, sent := map[time.Duration]bool{}, map[time.Duration]int{}
	for age := time.Duration(0); age < 1200*time.Millisecond; age += 25 * time.Millisecond {
		switch age {
		case 225 * time.Millisecond:
			put(age-1, 100)
		case 500 * time.Millisecond:
			put(age, 0)
		}
		frames, err := r.f.Unheard(at + age)
		r.check(err)
		looks[age] = r.f.again.looked == at+age
		if len(frames) > 0 {
			sent[age] = len(frames)
		}
	}
	want := map[time.Duration]int{325 * time.Millisecond: 1}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for age, looked := range looks {
		if late := age % (100 * time.Millisecond); looked && age < 225*time.Millisecond && late != 0 {
			t.Errorf("looked after %v, when nothing could be due", age)
		}
	}
	for age := 1300 * time.Millisecond; age <= 1600*time.Millisecond; age += 100 * time.Millisecond {
		frames, err := r.f.Unheard(at + age)
		if r.check(err); len(frames) != map[time.Duration]int{1400 * time.Millisecond: 1, 1500 * time.Millisecond: 1}[age] {
			t.Errorf("%d frames after %v", len(frames), age)
		}
	}
}

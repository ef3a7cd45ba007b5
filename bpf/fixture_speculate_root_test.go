// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// rigThird is a node that has to do with a slot, and is never picked.
const rigThird topology.NodeID = 11

// roles gives all slots to the same nodes.
func (r *rig) roles(t testing.TB, s Slot) {
	t.Helper()
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i] = s
	}
	if err := r.f.SetSlots(table); err != nil {
		t.Fatal(err)
	}
}

// newSecondary is a rig whose node is the secondary of all slots.
func newSecondary(t *testing.T, delay time.Duration) *rig {
	t.Helper()
	r := newRig(t)
	r.roles(t, Slot{Primary: rigThird, Secondary: rigSelf})
	r.speculate(t, Speculation{Delay: delay})
	return r
}

func (r *rig) speculate(t testing.TB, s Speculation) {
	t.Helper()
	if err := r.f.SetSpeculation(s); err != nil {
		t.Fatal(err)
	}
}

// places reads the map of SYNs that wait.
func (f *Filter) places(t testing.TB) []onevipOvAwaiting {
	t.Helper()
	keys := make([]uint32, f.objs.Awaiting.MaxEntries())
	values := make([]onevipOvAwaiting, len(keys))
	var cursor ebpf.MapBatchCursor
	n, err := f.objs.Awaiting.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) || n != len(keys) {
		t.Fatalf("read %d of %d places: %v", n, len(keys), err)
	}
	return values
}

func (r *rig) place(t testing.TB, place uint32) (w onevipOvAwaiting) {
	t.Helper()
	r.check(r.f.objs.Awaiting.Lookup(place, &w))
	return w
}

// awaits tells whether the SYN with this ISN waits for an answer.
func (r *rig) awaits(t testing.TB, f family, isn uint32) bool {
	t.Helper()
	key := onevipOvSynKey{Flow: f.flow(webPort), Isn: isn}
	w := r.place(t, placeOf(f, isn))
	return w.Taken != 0 && w.Key == key
}

// freePlaces forgets the SYNs that were answered.
func (r *rig) freePlaces(t testing.TB) {
	t.Helper()
	for i, w := range r.f.places(t) {
		if w.Taken != 0 {
			r.check(r.f.objs.Awaiting.Put(uint32(i), onevipOvAwaiting{}))
		}
	}
}

// expectAwaiting sends a SYN that must wait.
func (r *rig) expectAwaiting(t testing.TB, syn []byte) {
	t.Helper()
	r.expect(t, syn, ReasonAwaiting)
}

// readNotices gives the notices of the rig as they come.
func (r *rig) readNotices(t *testing.T) <-chan Notice {
	t.Helper()
	reader, err := r.f.Notices()
	if err != nil {
		t.Fatal(err)
	}
	notices, done := make(chan Notice, 64), make(chan struct{})
	go func() {
		defer close(done)
		for {
			n, err := reader.Read()
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
				return
			}
			notices <- n
		}
	}()
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return notices
}

func nextNotice(t testing.TB, notices <-chan Notice) Notice {
	t.Helper()
	select {
	case n := <-notices:
		return n
	case <-time.After(5 * time.Second):
		t.Fatal("no notice within 5 s")
		return Notice{}
	}
}

func (r *rig) counted(t testing.TB, reason Reason) uint64 {
	t.Helper()
	n, err := r.f.reason(reason)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What the primary leaves unanswered becomes the very SYN/ACK that an answer on the
// spot would have been, for whatever the SYN offered.
func TestFixtureSpeculation(t *testing.T) {
	r := newSecondary(t, 5*time.Millisecond)
	notices := r.readNotices(t)
	for _, f := range families {
		r.run(t, f.name, func(t *testing.T) {
			for i, o := range offers() {
				if i%61 != 0 {
					continue
				}
				before := r.counted(t, ReasonSpeculated)
				r.expectAwaiting(t, f.segment(o.port, o.syn()))
				if !o.timestamps {
					expectSYNCopy(t, f, o, nextNotice(t, notices))
				}
				n := nextNotice(t, notices)
				c := o.cookie(f, rigOther, 100)
				expectFrame(t, f.answer(o.port, o.synAck(c, testKeys(100).Current, f.ownMSS(), 7)), n.Frame)
				want := Notice{Kind: NoticeSend, At: n.At, Flow: Flow{f.from(), f.to(o.port)}, Primary: rigThird, Owner: rigOther, Frame: n.Frame}
				if !equalNotices(n, want) {
					t.Fatalf("notice %+v, want %+v", n, want)
				}
				waitFor(t, "the speculation is counted", func() bool { return r.counted(t, ReasonSpeculated) == before+1 })
				r.freePlaces(t)
			}
		})
	}
}

// expectSYNCopy: the owner needs what a SYN without timestamps offered, and may not
// have seen it.
func expectSYNCopy(t testing.TB, f family, o offer, n Notice) {
	t.Helper()
	tcp := layers.TCP{SrcPort: clientPort, DstPort: layers.TCPPort(o.port), Seq: o.isn, SYN: true}
	tcp.ECE, tcp.CWR = o.ece && o.cwr, o.ece && o.cwr
	tcp.Options = append(tcp.Options, optionMSS(uint16(max(o.mss, 0))), nop, nop)
	if o.sack {
		tcp.Options = append(tcp.Options, optionSACK())
	} else {
		tcp.Options = append(tcp.Options, nop, nop)
	}
	if tcp.Options = append(tcp.Options, nop); o.scale() == noScale {
		tcp.Options = append(tcp.Options, nop, nop, nop)
	} else {
		tcp.Options = append(tcp.Options, optionScale(o.scale()))
	}
	e := envelope{from: f.client, to: f.vip, fromMAC: clusterMAC, toMAC: otherMAC[:], ttl: 64, dontFragment: true}
	expectFrame(t, e.tcp(tcp, nil), n.Frame)
	if n.Kind != NoticeCopy || n.Owner != rigOther {
		t.Fatalf("notice %+v: want a copy for node %d", n, rigOther)
	}
}

func equalNotices(a, b Notice) bool {
	return a.Kind == b.Kind && a.At == b.At && a.Flow == b.Flow && a.Primary == b.Primary && a.Owner == b.Owner && bytes.Equal(a.Frame, b.Frame)
}

// The answer that a node gives for another is accepted by the owner that it names.
func TestFixtureSpeculationIsAccepted(t *testing.T) {
	r := newSecondary(t, 5*time.Millisecond)
	notices := r.readNotices(t)
	r.setOwner(t, quietService, rigSelf)
	for _, f := range families {
		for _, timestamps := range []bool{true, false} {
			o := plainOffer(quietPort)
			o.timestamps = timestamps
			r.expectAwaiting(t, f.segment(quietPort, o.syn()))
			if n := nextNotice(t, notices); n.Owner != rigSelf {
				t.Fatalf("names node %d, want %d", n.Owner, rigSelf)
			}
			c := o.cookie(f, rigSelf, 100)
			r.expect(t, f.segment(quietPort, c.ack(testKeys(100).Current)), ReasonResetNoListener)
		}
	}
}

// The ways in which a SYN does not wait.
func TestFixtureAnsweredAtOnce(t *testing.T) {
	r := newSecondary(t, time.Minute)
	key := testKeys(100).Current
	for _, f := range families {
		o := plainOffer(webPort)
		syn := f.segment(webPort, o.syn())
		answer := f.answer(webPort, o.synAck(o.cookie(f, rigOther, 100), key, f.ownMSS(), 7))
		unknown := f.segment(noPort, o.syn())
		r.run(t, f.name+" seen twice", func(t *testing.T) {
			r.expectAwaiting(t, syn)
			expectFrame(t, answer, r.expect(t, syn, ReasonAnsweredSecondSYN).frame)
			r.expect(t, unknown, ReasonNotPrimary)
		})
		r.run(t, f.name+" suspected", func(t *testing.T) {
			r.check(r.f.SetSuspected([]topology.NodeID{rigThird}))
			defer func() { r.check(r.f.SetSuspected(nil)) }()
			expectFrame(t, answer, r.expect(t, syn, ReasonAnsweredForPrimary).frame)
			r.expect(t, unknown, ReasonRefusedNoService)
		})
		r.run(t, f.name+" another is suspected", func(t *testing.T) {
			r.check(r.f.SetSuspected([]topology.NodeID{rigThird - 1, rigThird + 1, rigThird + 64, topology.MaxNodeID}))
			defer func() { r.check(r.f.SetSuspected(nil)) }()
			o := o
			o.isn++
			r.expectAwaiting(t, f.segment(webPort, o.syn()))
		})
		r.run(t, f.name+" no delay", func(t *testing.T) {
			r.speculate(t, Speculation{})
			defer r.speculate(t, Speculation{Delay: time.Minute})
			expectFrame(t, answer, r.expect(t, syn, ReasonAnsweredForPrimary).frame)
		})
		r.run(t, f.name+" off", func(t *testing.T) {
			r.speculate(t, Speculation{Off: true})
			defer r.speculate(t, Speculation{Delay: time.Minute})
			r.expect(t, syn, ReasonNotPrimary)
		})
		r.run(t, f.name+" former primary", func(t *testing.T) {
			defer r.roles(t, Slot{Primary: rigThird, Secondary: rigSelf})
			r.roles(t, Slot{Primary: rigThird, Secondary: rigOther, Former: rigSelf})
			expectFrame(t, answer, r.expect(t, syn, ReasonAnsweredAsFormer).frame)
			r.roles(t, Slot{Primary: rigThird, Secondary: rigSelf, Former: rigSelf})
			r.expect(t, syn, ReasonAnsweredAsFormer)
			r.expect(t, unknown, ReasonRefusedNoService)
		})
	}
}

// A slot that moves while a SYN waits: it was the primary of then that did not answer.
func TestFixtureSlotMovesMeanwhile(t *testing.T) {
	r := newSecondary(t, 200*time.Millisecond)
	notices := r.readNotices(t)
	for _, f := range families {
		r.roles(t, Slot{Primary: rigThird, Secondary: rigSelf})
		r.expectAwaiting(t, f.segment(webPort, plainOffer(webPort).syn()))
		r.roles(t, Slot{Primary: rigOther, Secondary: rigSelf})
		if n := nextNotice(t, notices); n.Primary != rigThird {
			t.Fatalf("notice %+v: want node %d as the primary", n, rigThird)
		}
	}
}

// A SYN that the client sends again is not made to wait a second time.
func TestFixtureResentAfterSpeculation(t *testing.T) {
	r := newSecondary(t, 5*time.Millisecond)
	notices := r.readNotices(t)
	for _, f := range families {
		o := plainOffer(webPort)
		r.expectAwaiting(t, f.segment(webPort, o.syn()))
		nextNotice(t, notices)
		r.expect(t, f.segment(webPort, o.syn()), ReasonAnsweredSecondSYN)
		o.isn++
		r.expectAwaiting(t, f.segment(webPort, o.syn()))
		nextNotice(t, notices)
	}
}

// A place that is being filled in, or answered, on another CPU is nobody else's: what
// stands there may be half of two SYNs.
func TestFixtureBusyPlaceIsLeftAlone(t *testing.T) {
	const busy = 3 // PLACE_BUSY
	r := newSecondary(t, time.Minute)
	key := testKeys(100).Current
	for _, f := range families {
		o := plainOffer(webPort)
		syn, place := f.segment(webPort, o.syn()), placeOf(f, o.isn)
		r.expectAwaiting(t, syn)
		half := r.place(t, place)
		half.Taken = busy
		r.check(r.f.objs.Awaiting.Put(place, half))
		r.expect(t, syn, ReasonAnsweredUntimed)
		r.expect(t, f.mirrored(webPort, o.synAck(o.cookie(f, rigOther, 100), key, f.ownMSS(), 7)), ReasonMirrored)
		if got := r.place(t, place); got != half {
			t.Fatalf("%s: the place holds %+v, want %+v", f.name, got, half)
		}
		r.freePlaces(t)
	}
}

// A burst, on a fresh filter: each SYN finds the timer of its place, and waits, unless
// another waits there: then it is answered.
func TestFixtureBurstWaits(t *testing.T) {
	r := newSecondary(t, time.Minute)
	f := families[0]
	o := plainOffer(webPort)
	taken := map[uint32]bool{}
	for o.isn = range uint32(2048) {
		got := r.send(t, f.segment(webPort, o.syn()))
		want := ReasonAwaiting
		place := placeOf(f, o.isn)
		if taken[place] {
			want = ReasonAnsweredUntimed
			expectFrame(t, f.answer(webPort, o.synAck(o.cookie(f, rigOther, 100), testKeys(100).Current, f.ownMSS(), 7)), got.frame)
		}
		if got.reason != want || r.awaits(t, f, o.isn) != (want == ReasonAwaiting) {
			t.Fatalf("SYN %d: reason %s, want %s", o.isn, got.reason, want)
		}
		taken[place] = true
	}
	if len(taken) == 2048 {
		t.Fatal("no two SYNs of 2048 have met in a place")
	}
}

// All that wait are woken, and the clocks that stopped then start again.
func TestFixtureBurstIsWoken(t *testing.T) {
	r := newSecondary(t, 20*time.Millisecond)
	f := families[0]
	o := plainOffer(webPort)
	waited := uint64(0)
	for round := range uint32(3) {
		for i := range uint32(300) {
			o.isn = round<<16 + i
			if r.send(t, f.segment(webPort, o.syn())).reason == ReasonAwaiting {
				waited++
			}
		}
		waitFor(t, "all are woken", func() bool { // not all have room in the ring
			return r.counted(t, ReasonSpeculated)+r.counted(t, ReasonNoticeLost) == waited
		})
	}
	if waited < 600 {
		t.Errorf("%d of 900 SYNs waited", waited)
	}
}

// placeOf is where a SYN waits: place_of in src/awaiting.h.
func placeOf(f family, isn uint32) uint32 {
	hash := flowHash(netip.AddrPortFrom(f.client, clientPort), netip.AddrPortFrom(f.vip, webPort))
	return uint32(mix(hash, uint64(isn)) % 16384)
}

// Nobody may be picked, or nobody reads: that is counted.
func TestFixtureSpeculationInVain(t *testing.T) {
	r := newSecondary(t, time.Millisecond)
	f := families[0]
	o := plainOffer(webPort)
	r.setOwner(t, webService)
	r.expectAwaiting(t, f.segment(webPort, o.syn()))
	waitFor(t, "nobody is picked", func() bool { return r.counted(t, ReasonNoNode) == 1 })

	r.setOwner(t, webService, rigOther)
	for isn := range uint32(30) { // a page holds 24 notices
		o.isn = 100 + isn
		r.expectAwaiting(t, f.segment(webPort, o.syn()))
	}
	waitFor(t, "notices are lost", func() bool { return r.counted(t, ReasonNoticeLost) > 0 })
	waitFor(t, "all SYNs had their time", func() bool {
		return r.counted(t, ReasonNoticeLost)+r.counted(t, ReasonSpeculated) == 30
	})
}

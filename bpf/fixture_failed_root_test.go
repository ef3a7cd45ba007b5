// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// setFailed has the rig's node act for these, in all slots.
func (r *rig) setFailed(t testing.TB, ids ...topology.NodeID) {
	t.Helper()
	var all []Failed
	for _, id := range ids {
		f := Failed{ID: id, Acts: make([]bool, topology.SlotCount)}
		for i := range f.Acts {
			f.Acts[i] = true
		}
		all = append(all, f)
	}
	if err := r.f.SetFailed(all); err != nil {
		t.Fatal(err)
	}
}

// An orphan's client gets a RST at what it acknowledged, each time it speaks.
func TestFixtureOrphan(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	for _, f := range families {
		r.run(t, f.name, func(t *testing.T) {
			r.setFailed(t)
			first := f.first(rigOther)
			r.expect(t, f.segment(webPort, first), ReasonForeign)
			later := layers.TCP{ACK: true, Seq: first.Seq + 100, Ack: first.Ack + 5000}
			r.expect(t, f.data(later, 10, 800, 1), ReasonForeign)
			r.setFailed(t, rigThird, rigOther)
			later.Seq += 10
			for _, ack := range []uint32{5000, 5001, 6000, 5500} {
				later.Ack = first.Ack + ack
				got := r.expect(t, f.data(later, 20, 801, 2), ReasonResetOrphan)
				expectFrame(t, f.answer(webPort, layers.TCP{RST: true, Seq: later.Ack}), got.frame)
			}
			late := r.expect(t, f.segment(webPort, first), ReasonResetOrphan) // it had heard more
			expectFrame(t, f.answer(webPort, layers.TCP{RST: true, Seq: first.Ack}), late.frame)
			r.expect(t, f.segment(webPort, layers.TCP{SYN: true, ACK: true, Seq: later.Seq, Ack: later.Ack}), ReasonForeign)
			r.expect(t, f.segment(webPort, layers.TCP{RST: true, Seq: later.Seq}), ReasonForeign)
			r.expectUnguarded(t)
		})
	}
}

// Nothing is done for a node that lives, in another's slots, or for one that no
// longer counts as failed.
func TestFixtureOthersOrphans(t *testing.T) {
	r := newRig(t)
	f := families[0]
	r.setRoles(t, rigThird, rigSelf)
	r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
	later := f.data(layers.TCP{ACK: true, Seq: 5001, Ack: f.first(rigOther).Ack + 1}, 10, 800, 1)
	r.setFailed(t, rigThird)
	r.expect(t, later, ReasonForeign)
	acts := make([]bool, topology.SlotCount)
	slot := SlotOf(f.from(), f.to(webPort))
	for i := range acts {
		acts[i] = i != slot
	}
	r.check(r.f.SetFailed([]Failed{{ID: rigOther, Acts: acts}}))
	r.expect(t, later, ReasonForeign)
	for i := range acts {
		acts[i] = i == slot
	}
	r.check(r.f.SetFailed([]Failed{{ID: rigOther, Acts: acts}}))
	r.expect(t, later, ReasonResetOrphan)
	r.setFailed(t)
	r.expect(t, later, ReasonForeign)
}

func TestFixtureSetFailedRefuses(t *testing.T) {
	r := newRig(t)
	for _, bad := range []Failed{{ID: 0, Acts: make([]bool, topology.SlotCount)}, {ID: 255, Acts: make([]bool, topology.SlotCount)}, {ID: 3}} {
		if err := r.f.SetFailed([]Failed{bad}); err == nil {
			t.Errorf("node %d with %d slots was taken", bad.ID, len(bad.Acts))
		}
	}
}

// youngRig is a rig whose other node has failed; it acts for that one.
func youngRig(t *testing.T) *rig {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	r.setFailed(t, rigOther)
	return r
}

func (r *rig) setReplay(t testing.TB, safe bool) {
	t.Helper()
	s := Service{ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: webPort, Policy: topology.LeastConnection, Replay: safe}
	if err := r.f.SetServices([]Service{s}); err != nil {
		t.Fatal(err)
	}
}

// A handshake that names a failed node is finished here: the kernel refuses every
// test run, so that it was asked says that all checks let the segment by.
func TestFixtureYoung(t *testing.T) {
	r := youngRig(t)
	for _, f := range families {
		first := f.first(rigOther)
		bare, request := f.segment(webPort, first), f.data(first, 40, 777, f.theirs(rigOther).tsval(testKeys(100).Current))
		l := r.listen(t, f.to(webPort))
		r.run(t, f.name+" its ACK", func(t *testing.T) {
			r.expect(t, bare, ReasonAdoptRefused)
			r.expect(t, bare, ReasonAdoptRefused) // no room in the accept queue, say
			r.expect(t, request, ReasonAdoptRefused)
			r.expect(t, request, ReasonAdoptRefused)
			r.forgetAll(t)
		})
		r.run(t, f.name+" its ACK before the failure", func(t *testing.T) {
			r.setFailed(t)
			r.expect(t, bare, ReasonForeign)
			r.setFailed(t, rigOther)
			r.expect(t, request, ReasonAdoptRefused)
			r.forgetAll(t)
		})
		r.run(t, f.name+" its request before the failure", func(t *testing.T) { r.testSeenRequest(t, f, bare, request) })
		r.run(t, f.name+" of which we know nothing but a request", func(t *testing.T) {
			r.expect(t, request, ReasonResetYoung)
			r.forgetAll(t)
		})
		r.run(t, f.name+" whose guard is dead too", func(t *testing.T) { r.testHeir(t, f, bare, request) })
		r.run(t, f.name+" names a living node", func(t *testing.T) {
			r.expect(t, f.segment(webPort, f.first(rigThird)), ReasonForeign)
			r.forgetAll(t)
		})
		l.Close()
		r.run(t, f.name+" nobody listens", func(t *testing.T) {
			got := r.expect(t, bare, ReasonResetNoListener)
			expectFrame(t, f.answer(webPort, layers.TCP{RST: true, Seq: first.Ack}), got.frame)
			r.forgetAll(t)
		})
	}
	r.expectViolations(t, 0)
}

// testHeir: an ACK may be a late copy, and its request have been with the failed node.
// What the heir has seen from the beginning it knows.
func (r *rig) testHeir(t *testing.T, f family, bare, request []byte) {
	all := make([]bool, topology.SlotCount)
	for i := range all {
		all[i] = true
	}
	for _, heir := range [][]bool{nil, all} {
		r.check(r.f.SetFailed([]Failed{{ID: rigOther, Acts: all, Heir: heir}}))
		want := ReasonAdoptRefused
		if heir != nil {
			want = ReasonResetYoung
		}
		r.expect(t, bare, want)
		r.expect(t, request, want)
		r.forgetAll(t)
	}
	r.setFailed(t)
	r.expect(t, bare, ReasonForeign)
	r.check(r.f.SetFailed([]Failed{{ID: rigOther, Acts: all, Heir: all}}))
	r.expect(t, request, ReasonAdoptRefused)
	r.forgetAll(t)
	r.setReplay(t, true)
	r.expect(t, bare, ReasonAdoptRefused)
	r.setReplay(t, false)
	r.forgetAll(t)
	r.setFailed(t, rigOther)
}

// testSeenRequest: the failed node may have acted on it, so it must not run again,
// unless that does no harm.
func (r *rig) testSeenRequest(t *testing.T, f family, bare, request []byte) {
	t.Helper()
	defer r.setFailed(t, rigOther)
	for _, seen := range [][][]byte{{request}, {bare, request}, {request, bare}} {
		r.setFailed(t)
		for _, frame := range seen {
			r.expect(t, frame, ReasonForeign)
		}
		r.setFailed(t, rigOther)
		for range 2 {
			got := r.expect(t, request, ReasonResetYoung)
			expectFrame(t, f.answer(webPort, layers.TCP{RST: true, Seq: f.first(rigOther).Ack}), got.frame)
		}
		r.setReplay(t, true)
		r.expect(t, request, ReasonAdoptRefused)
		r.setReplay(t, false)
		r.forgetAll(t)
	}
}

// A tuple whose old owner failed, used again with a living one: nothing may hit it.
func TestFixtureOrphanedTupleUsedAgain(t *testing.T) {
	r := youngRig(t)
	for _, f := range families {
		r.setFailed(t)
		r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
		r.setFailed(t, rigOther)
		again := f.attempt(7000, rigThird)
		r.expect(t, f.segment(webPort, again), ReasonForeign)
		again.Seq += 500
		r.expect(t, f.data(again, 10, 900, 1), ReasonForeign)
		again.Seq, again.Ack = far(again.Seq), far(again.Ack) // and once more, its beginning missed
		r.expect(t, f.data(again, 10, 900, 1), ReasonStray)
	}
}

// On a real interface the heir's socket is what the failed node's scheduler granted;
// its record goes with its coming.
func TestFixtureHeir(t *testing.T) {
	r := youngRig(t)
	r.watchSockets(t)
	r.openWire(t)
	for _, f := range families {
		f = f.remote()
		l := r.listen(t, f.to(webPort))
		for i, c := range handshakes(f) {
			if i%13 != 0 {
				continue
			}
			c.owner = rigOther
			if !c.timestamps {
				r.remember(t, f, c)
			}
			frame := c.frame(testKeys(100).Current)
			r.expectOnWire(t, func() { r.write(t, frame) }, ReasonAdoptedYoung)
			conn := accept(t, l)
			r.expectOnWire(t, func() { r.write(t, frame) }, ReasonOwn)
			r.expectUnguarded(t)
			expectAdopted(t, f, c, conn)
		}
	}
	r.expectViolations(t, 0)
}

// A socket that comes to be here while another living node was named in the same
// handshake is a second owner.
func TestFixtureSecondOwnerIsCounted(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	r.watchSockets(t)
	r.openWire(t)
	for i, f := range families {
		f = f.remote()
		l := r.listen(t, f.to(webPort))
		c := handshakes(f)[4]
		c.owner = rigOther
		r.expectOnWire(t, func() { r.write(t, c.frame(testKeys(100).Current)) }, ReasonForeign)
		r.expectViolations(t, uint64(i))
		c.owner = rigSelf
		r.expectOnWire(t, func() { r.write(t, c.frame(testKeys(100).Current)) }, ReasonAdopted)
		accept(t, l).Close()
		r.expectViolations(t, uint64(i)+1)
	}
}

// What a record in etcd or the other nodes say: the next segment is answered.
func TestFixtureCondemn(t *testing.T) {
	r := youngRig(t)
	for _, f := range families {
		flow := []Flow{{f.from(), f.to(webPort)}}
		mid := layers.TCP{ACK: true, Seq: 70000, Ack: 4_000_000_000}
		frame := f.data(mid, 10, 1, 2)
		r.run(t, f.name+" unknown", func(t *testing.T) {
			r.check(r.f.Condemn(flow, rigOther))
			r.expectGuarded(t, Guarded{Flow: flow[0], Owner: rigOther, Data: true})
			got := r.expect(t, frame, ReasonResetOrphan)
			expectFrame(t, f.answer(webPort, layers.TCP{RST: true, Seq: mid.Ack}), got.frame)
			r.check(r.f.Forget(flow))
			r.check(r.f.Forget(flow))
		})
		r.run(t, f.name+" stray", func(t *testing.T) {
			r.expect(t, frame, ReasonStray)
			r.check(r.f.Condemn(flow, rigOther))
			r.expect(t, frame, ReasonResetOrphan)
			r.check(r.f.Condemn(flow, rigThird)) // a living node has it
			r.expect(t, frame, ReasonForeign)
			r.forgetAll(t)
		})
		r.run(t, f.name+" in use again", func(t *testing.T) {
			r.expect(t, f.segment(webPort, f.first(rigThird)), ReasonForeign)
			r.check(r.f.Condemn(flow, rigOther))
			r.expectGuarded(t, f.record(rigThird))
			r.check(r.f.Condemn(flow, rigThird))
			want := f.record(rigThird)
			want.Data = true
			r.expectGuarded(t, want)
			r.forgetAll(t)
		})
	}
	if err := r.f.Condemn([]Flow{{}}, topology.Undecided); err == nil {
		t.Error("condemned to nobody")
	}
}

// A node that stood down lets nothing for a VIP through, until it has a new id.
func TestFixtureStoodDown(t *testing.T) {
	r := newRig(t)
	r.connect(t, families[0])
	frames := [][]byte{
		families[0].segment(webPort, layers.TCP{ACK: true, Seq: 1}),
		families[0].segment(webPort, plainOffer(webPort).syn()),
		families[1].segment(quietPort, families[1].handshake(true).ack(testKeys(100).Current)),
		families[1].icmp(families[1].echoType(), make([]byte, 8)),
	}
	expectAll := func(want Reason) {
		for _, frame := range frames {
			if got := r.send(t, frame); (got.reason == ReasonStoodDown) != (want == ReasonStoodDown) {
				t.Fatalf("reason %s", got.reason)
			}
		}
		if r.f.StoodDown() != (want == ReasonStoodDown) {
			t.Fatalf("stood down: %t", r.f.StoodDown())
		}
	}
	expectAll(ReasonOwn)
	r.check(r.f.Quiesce())
	expectAll(ReasonStoodDown)
	r.check(r.f.SetSelf(Self{ID: rigSelf, WindowScale: 7}))
	expectAll(ReasonStoodDown)
	r.expectAnswer(t, Question{Kind: AskAlive, Asked: rigSelf, Nonce: 1}, true)
	r.check(r.f.SetSelf(Self{ID: rigThird, WindowScale: 7}))
	expectAll(ReasonOwn)
}

// Strays are told to the agent, once a second and connection at most.
func TestFixtureStrayNotices(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigOther, rigThird) // acting is no role
	notices := r.readNotices(t)
	for _, f := range families {
		frame := f.segment(webPort, layers.TCP{ACK: true, Seq: 70000, Ack: 80000})
		r.setFailed(t)
		r.expect(t, frame, ReasonForeign)
		r.expectUnguarded(t)
		r.setFailed(t, rigOther)
		from := r.second(t)
		for range 50 {
			r.expect(t, frame, ReasonStray)
		}
		most := r.second(t) - from + 1
		flow := Flow{f.from(), f.to(webPort)}
		n := nextOf(t, notices, flow)
		if want := (Notice{Kind: NoticeStray, At: n.At, Flow: flow, Frame: n.Frame}); !equalNotices(n, want) || len(n.Frame) > 0 {
			t.Fatalf("notice %+v, want %+v", n, want)
		}
		if more := len(notices); more >= most {
			t.Fatalf("%d notices in %d seconds", more+1, most)
		}
		r.check(r.f.Forget([]Flow{flow}))
		r.expect(t, frame, ReasonStray)
		nextOf(t, notices, flow)
		r.forgetAll(t)
	}
}

// nextOf leaves out what is left of other flows.
func nextOf(t *testing.T, notices <-chan Notice, flow Flow) Notice {
	t.Helper()
	for {
		if n := nextNotice(t, notices); n.Flow == flow {
			return n
		}
	}
}

// second is that of the clock that the programs go by.
func (r *rig) second(t testing.TB) int {
	t.Helper()
	now, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	return int(now / time.Second)
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// inspection is a handshake with a service whose requests are looked at.
type inspection struct {
	family
	c   cookie
	key [16]byte
}

// eachInspection runs a test for both families, with and without timestamps, on a
// rig whose node has seen the SYN. inspector is whom the cookie names.
func (r *rig) eachInspection(t *testing.T, inspector topology.NodeID, test func(t *testing.T, in inspection)) {
	t.Helper()
	for _, f := range families {
		for _, timestamps := range []bool{true, false} {
			r.run(t, fmt.Sprintf("%s timestamps=%t", f.name, timestamps), func(t *testing.T) {
				r.forgetHandovers(t)
				in := f.inspection(timestamps, inspector)
				if !timestamps {
					r.remember(t, f, in.c)
				}
				test(t, in)
			})
		}
	}
}

func (f family) inspection(timestamps bool, inspector topology.NodeID) inspection {
	o := plainOffer(webPort)
	o.timestamps, o.isn = timestamps, 5000
	c := o.cookie(f, inspector, 100)
	c.inspect = true
	return inspection{f, c, testKeys(100).Current}
}

func (r *rig) forgetHandovers(t testing.TB) {
	t.Helper()
	r.check(deleteOthers(r.f.objs.Handovers, func(onevipOvFlow) bool { return false }))
}

// newInspecting is a rig whose web service looks at requests.
func newInspecting(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.check(r.f.SetServices([]Service{inspected(testRules())}))
	return r
}

// bare is the handshake's last segment.
func (in inspection) bare() []byte { return in.segment(webPort, in.c.ack(in.key)) }

// request is n bytes of data behind the first `at`.
func (in inspection) request(at, n int) []byte { return in.with(at, n, func(*layers.TCP) {}) }

func (in inspection) with(at, n int, change func(*layers.TCP)) []byte {
	tcp := in.c.ack(in.key)
	tcp.SrcPort, tcp.DstPort, tcp.Window = clientPort, webPort, 501
	tcp.Seq += uint32(at)
	tcp.PSH = n > 0
	change(&tcp)
	return inbound(in.client, in.vip).tcp(tcp, make([]byte, n))
}

// handed is a first segment as its inspector hands it over: to us by another, or else by
// us.
func (in inspection) handed(n int, from, to net.HardwareAddr) []byte {
	owner := rigSelf
	if in.c.owner == rigSelf {
		owner = rigOther
	}
	return between(in.with(0, n, in.carry(owner)), from, to)
}

// carry puts the owner, and the options of a client without timestamps, into the urgent
// pointer.
func (in inspection) carry(owner topology.NodeID) func(*layers.TCP) {
	return func(tcp *layers.TCP) {
		if owner != in.c.owner {
			tcp.Urgent = 0x8000 | uint16(owner)<<6
		}
		if !in.c.timestamps {
			tcp.Urgent |= 0xc000 | uint16(in.c.optionBits())
		}
	}
}

// between is the frame with these addresses.
func between(frame []byte, from, to net.HardwareAddr) []byte {
	return slices.Concat(to, from, frame[12:])
}

func macOf(m topology.MAC) net.HardwareAddr { return m[:] }

// The SYN/ACK names the node that answers, whoever may own the connection.
func TestFixtureInspectorNamesItself(t *testing.T) {
	r := newInspecting(t)
	for _, f := range families {
		o := plainOffer(webPort)
		c := o.cookie(f, rigSelf, 100)
		c.inspect = true
		got := r.expect(t, f.segment(webPort, o.syn()), ReasonAnswered)
		expectFrame(t, f.answer(webPort, o.synAck(c, testKeys(100).Current, f.ownMSS(), 7)), got.frame)
		if u := r.kept(t, f); u == nil || u.Silent != 3000 {
			t.Fatalf("kept %+v, want a SYN/ACK that is sent again after 3000 ms", u)
		}
	}
	r.setOwner(t, webService)
	r.expect(t, families[0].segment(webPort, plainOffer(webPort).syn()), ReasonNoNode)
}

// Nothing comes of the bare ACK; the first data goes to its owner, and so does all
// that comes of this handshake.
func TestFixtureHandedOver(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.setOwner(t, webService, rigOther)
		r.expect(t, in.bare(), ReasonUndecided)
		got := r.expect(t, in.request(0, 100), ReasonHandedOver)
		want := in.handed(100, clusterMAC, macOf(otherMAC))
		expectFrame(t, want, got.frame)

		r.setOwner(t, webService, rigSelf) // a decision stands
		expectFrame(t, want, r.expect(t, in.request(0, 100), ReasonHandedOver).frame)
		expectFrame(t, in.handed(0, clusterMAC, macOf(otherMAC)), r.expect(t, in.bare(), ReasonHandedOver).frame)
		got = r.expect(t, in.request(100, 50), ReasonFollowed)
		expectFrame(t, between(in.request(100, 50), clusterMAC, macOf(otherMAC)), got.frame)
	})
}

// A client that connects and ends is somebody's too.
func TestFixtureHandedOverFIN(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		fin := in.with(0, 0, func(tcp *layers.TCP) { tcp.FIN = true })
		got := r.expect(t, fin, ReasonHandedOver)
		want := in.with(0, 0, func(tcp *layers.TCP) { tcp.FIN = true; in.carry(rigOther)(tcp) })
		expectFrame(t, between(want, clusterMAC, macOf(otherMAC)), got.frame)
	})
}

// What is none of the segments that follow the first closely is not sent on.
func TestFixtureNotFollowed(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		mismatch := r.mismatch(in.c)
		r.clearTraces(t)
		r.expect(t, in.request(100, 50), mismatch) // overtook the first
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		r.expect(t, in.request(100, 50), ReasonFollowed)
		r.expect(t, in.with(100, 50, func(tcp *layers.TCP) { tcp.Ack += 10 }), ReasonForeign)
		r.expect(t, in.with(1<<30+1, 50, func(*layers.TCP) {}), mismatch)
		r.clearTraces(t) // as after a tenth of a second
		r.expect(t, in.request(100, 50), ReasonForeign)
		r.expect(t, in.request(0, 100), ReasonHandedOver)
	})
}

// clearTraces leaves no trace.
func (r *rig) clearTraces(t testing.TB) {
	t.Helper()
	for i := range r.f.objs.Traces.MaxEntries() {
		var trace onevipOvTrace
		r.check(r.f.objs.Traces.Lookup(i, &trace))
		if trace != (onevipOvTrace{}) {
			r.check(r.f.objs.Traces.Put(i, &onevipOvTrace{}))
		}
	}
}

// A request for the inspector itself: the kernel refuses every test run, so that it
// was asked says that all checks let the segment by.
func TestFixtureInspectorAdopts(t *testing.T) {
	r := newInspecting(t)
	r.setOwner(t, webService, rigSelf)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonUndecided)
		r.expect(t, in.request(0, 100), ReasonResetNoListener)
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		r.expect(t, in.request(0, 100), ReasonAdoptRefused)
		r.expect(t, in.bare(), ReasonAdoptRefused) // decided by now
	})
}

func TestFixtureInspectedForNobody(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.setOwner(t, webService)
		r.expect(t, in.request(0, 100), ReasonNoNode)
		r.setOwner(t, webService, rigThird)
		r.expect(t, in.request(0, 100), ReasonNoMember)
		r.setOwner(t, webService, rigOther)
		r.expect(t, in.request(0, 100), ReasonHandedOver) // nothing was decided
	})
}

// A new handshake of the tuple is decided anew, and an old one is not any more.
func TestFixtureHandoverOfReusedTuple(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.setOwner(t, webService, rigOther)
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		again := in
		again.c.clientISN = 900_000
		if !in.c.timestamps {
			r.remember(t, in.family, again.c)
		}
		r.setOwner(t, webService, rigSelf)
		o := plainOffer(webPort)
		o.timestamps, o.isn = in.c.timestamps, again.c.clientISN
		r.expect(t, in.segment(webPort, o.syn()), ReasonAnswered)
		r.expect(t, again.bare(), ReasonUndecided)
		r.expect(t, in.request(0, 100), ReasonHandedOver) // the old one's, late
		r.expect(t, again.request(0, 100), ReasonResetNoListener)
		r.expect(t, again.request(100, 100), r.mismatch(in.c))
	})
}

// The middle of a connection that was given away says nothing of a cookie, not even where
// a SYN, perhaps a spoofed one, has come for its tuple.
func TestFixtureMiddleOfHandedConnection(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		o := plainOffer(webPort)
		o.timestamps, o.isn = in.c.timestamps, 900_000
		r.expect(t, in.segment(webPort, o.syn()), ReasonAnswered)
		r.expect(t, in.with(100, 50, func(tcp *layers.TCP) { tcp.Ack += 10 }), ReasonForeign)
	})
}

// mismatch is why a segment that is not a handshake's first is not taken for it.
func (r *rig) mismatch(c cookie) Reason {
	if c.timestamps {
		return ReasonCookieMismatch
	}
	return ReasonCookieNoRecord
}

// Handed over to us: adopted, though the cookie names another node.
func TestFixtureAdoptsWhatIsHanded(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonAdoptRefused)
		r.expect(t, in.handed(0, macOf(otherMAC), clusterMAC), ReasonAdoptRefused) // a silent client's ACK
		for name, frame := range map[string][]byte{
			"from the client":        in.request(0, 100),
			"from another member":    in.handed(100, mustMAC("02:00:5e:00:02:05"), clusterMAC),
			"to another member":      in.handed(100, macOf(otherMAC), mustMAC("02:00:5e:00:02:05")),
			"from us, by the switch": in.handed(100, clusterMAC, clusterMAC),
		} {
			if got := r.send(t, frame); got.reason != ReasonForeign {
				t.Errorf("%s: reason %s, want %s", name, got.reason, ReasonForeign)
			}
		}
		r.expect(t, between(in.request(100, 100), macOf(otherMAC), clusterMAC), ReasonForeign)
		follower := in.with(100, 100, func(tcp *layers.TCP) { tcp.Urgent = 0x8000 | uint16(rigSelf)<<6 })
		r.expect(t, between(follower, macOf(otherMAC), clusterMAC), r.mismatch(in.c))
	})
}

// A cookie that names an owner is of no use in a handover, nor is a forged one.
func TestFixtureHandedWithoutRight(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.listen(t, in.to(webPort))
		plain := in
		plain.c.inspect = false
		r.expect(t, plain.handed(100, macOf(otherMAC), clusterMAC), ReasonForeign)
		forged := in
		forged.key[0] ^= 1
		r.expect(t, forged.handed(100, macOf(otherMAC), clusterMAC), ReasonCookieMismatch)
		r.check(r.f.objs.Tombstones.Put(in.flow(webPort), onevipOvTombstone{Isn: 5000, RcvNxt: 6000, Self: uint32(rigSelf)}))
		r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonDuplicate)
		r.check(r.f.objs.Tombstones.Delete(in.flow(webPort)))
	})
}

// The owner missed the SYN of a client without timestamps: its inspector says what that
// offered.
func TestFixtureHandedWithoutRecord(t *testing.T) {
	r := newInspecting(t)
	for _, f := range families {
		in := f.inspection(false, rigOther)
		bare := between(in.with(0, 100, func(tcp *layers.TCP) { tcp.Urgent = 0x8000 | uint16(rigSelf)<<6 }), macOf(otherMAC), clusterMAC)
		r.expect(t, bare, ReasonCookieNoRecord)
		wrong := in.with(0, 100, func(tcp *layers.TCP) { in.carry(rigSelf)(tcp); tcp.Urgent ^= 0x10 })
		r.expect(t, between(wrong, macOf(otherMAC), clusterMAC), ReasonCookieMismatch)
		r.check(r.f.objs.SynRecords.Delete(onevipOvSynKey{Flow: f.flow(webPort), Isn: 5000}))
		r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonNoClient)
		r.expect(t, bare, ReasonNoClient)
	}
}

// What was handed to another id of this machine, or to nobody, is not taken.
func TestFixtureHandedToAnotherID(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		r.check(r.f.SetSelf(Self{ID: rigThird, WindowScale: 7}))
		defer func() { r.check(r.f.SetSelf(Self{ID: rigSelf, WindowScale: 7})) }()
		r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonForeign)
		r.expect(t, between(in.request(0, 100), macOf(otherMAC), clusterMAC), ReasonForeign)
		r.expect(t, between(in.with(0, 100, in.carry(rigThird)), macOf(otherMAC), clusterMAC), ReasonAdoptRefused)
	})
}

// A first segment that says that something is urgent can not say whom it is for: its
// inspector keeps it, and nobody takes one.
func TestFixtureUrgentStays(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		urgent := func(tcp *layers.TCP) { tcp.URG, tcp.Urgent = true, 0x8000|uint16(rigSelf)<<6 }
		r.expect(t, in.with(0, 100, urgent), ReasonAdoptRefused)
		r.expect(t, in.request(0, 100), ReasonAdoptRefused)
		theirs := in
		theirs.c.owner, theirs.c.clientISN = rigOther, 6000
		if !in.c.timestamps {
			r.remember(t, in.family, theirs.c)
		}
		r.expect(t, between(theirs.with(0, 100, urgent), macOf(otherMAC), clusterMAC), ReasonForeign)
	})
}

// Nobody listens at the owner: the client hears of it, not the inspector.
func TestFixtureHandedWithoutListener(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.setPrimary(t, rigOther)
		place := r.clientPlace(t, in)
		var known uint64
		r.check(r.f.objs.Clients.Lookup(place, &known))
		for _, word := range []uint64{known, known ^ 1} { // another client had the place last
			r.check(r.f.objs.Clients.Put(place, word))
			got := r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonResetNoListener)
			expectFrame(t, in.answer(webPort, layers.TCP{RST: true, Seq: in.c.isn(in.key) + 1}), got.frame)
		}
		r.check(r.f.objs.Clients.Put(place, uint64(0)))
		r.expect(t, in.handed(100, macOf(otherMAC), clusterMAC), ReasonNoClient)
	})
}

// The policy changes while handshakes are under way: they end as they began.
func TestFixturePolicyChanges(t *testing.T) {
	r := newInspecting(t)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.configure(t)
		r.expect(t, in.bare(), ReasonResetNoListener) // its inspector keeps it
		r.expect(t, in.request(0, 100), ReasonResetNoListener)
		theirs := in
		theirs.c.owner = rigOther
		r.expect(t, theirs.handed(100, macOf(otherMAC), clusterMAC), ReasonNoClient)
		plain := in
		plain.c.inspect = false
		r.check(r.f.SetServices([]Service{inspected(testRules())}))
		r.expect(t, plain.bare(), ReasonResetNoListener)
	})
}

// A tuple in use here before goes when its new connection is handed to us, and a copy
// of the segment comes in again.
func TestFixtureHandedOnUsedTuple(t *testing.T) {
	r := newInspecting(t)
	for _, f := range families {
		c := r.connect(t, f)
		next := sequence(t, c.server, recvQueue)
		rst := f.raised(webPort, layers.TCP{RST: true, Seq: next})
		in := f.inspection(true, rigOther)
		in.c.clientISN = far(next)
		r.testReuseByUs(t, f, in.handed(10, macOf(otherMAC), clusterMAC), between(rst, macOf(otherMAC), clusterMAC), ReasonReuseLive)
		r.run(t, f.name+" its bare ACK", func(t *testing.T) {
			expectFrame(t, rst, r.expect(t, in.bare(), ReasonReuseLive).frame)
		})
		mine := in
		mine.c.owner = rigSelf
		r.testReuseByUs(t, f, mine.request(0, 10), rst, ReasonReuseLive)
	}
}

// A SYN/ACK that was given to the agent names its node as inspector, too.
func TestFixtureInspectorSpeculates(t *testing.T) {
	r := newSecondary(t, time.Millisecond)
	r.check(r.f.SetServices([]Service{inspected(testRules())}))
	notices := r.readNotices(t)
	f := families[0]
	o := plainOffer(webPort)
	r.expect(t, f.segment(webPort, o.syn()), ReasonAwaiting)
	c := o.cookie(f, rigSelf, 100)
	c.inspect = true
	n := nextNotice(t, notices)
	expectFrame(t, f.answer(webPort, o.synAck(c, testKeys(100).Current, f.ownMSS(), 7)), n.Frame)
}

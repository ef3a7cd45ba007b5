// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// told is a first segment by which its inspector tells the guard who the owner is.
func (in inspection) told(n int, owner topology.NodeID, from, to topology.MAC) []byte {
	frame := in.with(0, n, func(tcp *layers.TCP) {
		in.carry(owner)(tcp)
		tcp.PSH, tcp.SYN = false, true
		tcp.Window = uint16(owner)<<8 | uint16(in.c.owner)
	})
	return between(frame, from[:], to[:])
}

// guardedOf is what a guard knows of the handshake.
func (in inspection) guardedOf(owner topology.NodeID, n int) Guarded {
	g := Guarded{
		Flow: Flow{in.from(), in.to(webPort)}, Owner: owner, Inspector: in.c.owner,
		Ack: in.c.isn(in.key) + 1, Seq: 5001 + uint32(n), Data: n > 0, ClientMAC: topology.MAC(clientMAC),
	}
	if in.c.timestamps {
		g.TSVal, g.TSEcr, g.HasTS = 777, in.c.tsval(in.key), true
	}
	return g
}

// expectInspected is expectGuarded, whatever second it is.
func (r *rig) expectInspected(t testing.TB, want Guarded) {
	t.Helper()
	got := r.guarded(t, want.Owner)
	for i := range got {
		got[i].Seen = 0
	}
	if len(got) != 1 || got[0] != want {
		t.Fatalf("guarded: %+v, want %+v", got, want)
	}
}

// The inspector tells the guard, each time that it hands the first segment over.
func TestFixtureGuardIsTold(t *testing.T) {
	r := newInspecting(t)
	r.check(r.f.SetMembers(map[topology.NodeID]topology.MAC{rigOther: otherMAC, rigThird: thirdMAC}))
	for _, tt := range []struct {
		name               string
		primary, secondary topology.NodeID
		owner, guard       topology.NodeID
	}{
		{"the secondary", rigSelf, rigThird, rigOther, rigThird},
		{"the secondary, of our own", rigSelf, rigThird, rigSelf, rigThird},
		{"the primary, of the secondary's", rigOther, rigThird, rigThird, rigOther},
		{"the primary, of what the secondary inspects", rigThird, rigSelf, rigOther, rigThird},
	} {
		r.setRoles(t, tt.primary, tt.secondary)
		r.setOwner(t, webService, tt.owner)
		r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
			for range 2 {
				r.send(t, in.request(0, 100))
				want := in.told(100, tt.owner, topology.MAC(clusterMAC), r.macs()[tt.guard])
				time.Sleep(20 * time.Millisecond) // once a tick and connection is enough
				if got := r.heard(t, func(frame []byte) bool { return frame[in.l4()+13]&2 != 0 }); !bytes.Equal(got, want) {
					t.Fatalf("%s was told:\n%x\nwant\n%x", tt.name, got, want)
				}
			}
		})
	}
}

// Who gets the connection need not be told.
func TestFixtureOwnerIsNotTold(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigOther, rigSelf)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		if got := r.heard(t, func(frame []byte) bool { return frame[in.l4()+13]&2 != 0 }); got != nil {
			t.Errorf("told:\n%x", got)
		}
		r.expectInspected(t, in.guardedOf(rigOther, 100))
		r.forgetAll(t)
	})
}

var thirdMAC = topology.MAC{0x02, 0, 0x5e, 0, 2, 11}

func (r *rig) macs() map[topology.NodeID]topology.MAC {
	return map[topology.NodeID]topology.MAC{rigSelf: topology.MAC(clusterMAC), rigOther: otherMAC, rigThird: thirdMAC}
}

// Who repeats a first segment does not make as many frames for the guard of it.
func TestFixtureGuardIsToldOnceATick(t *testing.T) {
	r := newInspecting(t)
	r.check(r.f.SetMembers(r.macs()))
	r.setRoles(t, rigSelf, rigThird)
	in := families[0].inspection(true, rigSelf)
	const times = 100
	_, err := r.f.objs.OnevipIngress.Run(&ebpf.RunOptions{
		Data: in.request(0, 100), DataOut: make([]byte, 512), Repeat: times, Context: skBuff{Ifindex: r.ifindex},
	})
	r.check(err)
	told := 0
	for r.heard(t, func(frame []byte) bool { return frame[in.l4()+13]&2 != 0 }) != nil {
		told++
	}
	if n := r.counted(t, ReasonHandedOver); n != times || told == 0 || told > times/2 {
		t.Errorf("told %d times for %d segments", told, n)
	}
}

// The inspector is the guard itself: it notes what it would tell.
func TestFixtureInspectorGuards(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonUndecided)
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		r.expectInspected(t, in.guardedOf(rigOther, 100))
		r.expect(t, in.request(100, 50), ReasonFollowed)
		r.expectInspected(t, in.guardedOf(rigOther, 150))
		r.setFailed(t, rigOther)
		got := r.expect(t, in.request(0, 100), ReasonResetYoung) // its request was run, or may have been
		expectFrame(t, in.answer(webPort, layers.TCP{RST: true, Seq: in.c.isn(in.key) + 1}), got.frame)
		r.setFailed(t)
		r.forgetAll(t)
	})
}

// The inspector acts for the failed owner, and its record as a guard does not know that one:
// it knows it itself.
func TestFixtureInspectorKnowsTheFailedOwner(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		var g onevipOvGuarded
		r.check(r.f.objs.Guarded.Lookup(in.flow(webPort), &g))
		g.Owner = uint8(topology.Undecided)
		r.check(r.f.objs.Guarded.Put(in.flow(webPort), &g))
		r.setFailed(t, rigOther)
		r.expect(t, in.request(0, 100), ReasonResetYoung)
		r.setFailed(t)
		r.forgetAll(t)
	})
}

// What a guard knows of an inspected handshake, before and after it is told.
func TestFixtureToldRecord(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonForeign)
		r.expectInspected(t, in.guardedOf(topology.Undecided, 0))
		r.expect(t, in.request(0, 100), ReasonForeign)
		r.expectInspected(t, in.guardedOf(topology.Undecided, 100))
		r.expect(t, in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
		r.expectInspected(t, in.guardedOf(rigThird, 100))
		r.expect(t, in.request(0, 100), ReasonForeign) // names its inspector, no other owner
		r.expect(t, in.request(100, 100), ReasonForeign)
		r.expectInspected(t, in.guardedOf(rigThird, 200))
		r.expectViolations(t, 0)
		r.forgetAll(t)
	})
}

// A guard that is told before it sees the client.
func TestFixtureToldFirst(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.check(r.f.objs.Clients.Put(r.clientPlace(t, in), uint64(0)))
		r.expect(t, in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
		want := in.guardedOf(rigThird, 100)
		want.ClientMAC = topology.MAC{}
		r.expectInspected(t, want)
		r.expect(t, in.request(0, 100), ReasonForeign)
		r.expectInspected(t, in.guardedOf(rigThird, 100))
		r.forgetAll(t)
	})
}

// clientPlace is where the client's address stands: the only place in use.
func (r *rig) clientPlace(t testing.TB, in inspection) uint32 {
	t.Helper()
	r.expect(t, in.segment(webPort, plainOffer(webPort).syn()), ReasonNotPrimary)
	var place uint32
	var word uint64
	for it := r.f.objs.Clients.Iterate(); it.Next(&place, &word); {
		if word != 0 {
			return place
		}
	}
	t.Fatal("the client's SYN left no address")
	return 0
}

// Nobody but the inspector that the client named tells anything.
func TestFixtureToldWithoutRight(t *testing.T) {
	r := newInspecting(t)
	r.check(r.f.SetMembers(r.macs()))
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		self := topology.MAC(clusterMAC)
		forged, plain, nobody := in, in, in
		forged.key[0] ^= 1
		plain.c.inspect = false
		nobody.c.owner = rigThird
		tests := map[string][]byte{
			"from the client":       in.told(100, rigThird, topology.MAC(clientMAC), self),
			"from another member":   in.told(100, rigThird, thirdMAC, self),
			"to another member":     in.told(100, rigThird, otherMAC, thirdMAC),
			"a forged cookie":       forged.told(100, rigThird, otherMAC, self),
			"a cookie for an owner": plain.told(100, rigThird, otherMAC, self),
			"no owner":              in.told(100, topology.Undecided, otherMAC, self),
		}
		for name, frame := range tests {
			if got := r.send(t, frame); got.reason != ReasonForeign {
				t.Errorf("%s: reason %s, want %s", name, got.reason, ReasonForeign)
			}
		}
		for _, g := range r.guarded(t, rigThird, rigOther) {
			t.Errorf("guarded: %+v", g)
		}
	})
}

// The inspector has failed, and has decided nothing: the guard does as for an owner.
func TestFixtureInspectorFails(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		r.setFailed(t)
		r.expect(t, in.bare(), ReasonForeign)
		r.setFailed(t, rigOther)
		for range 2 { // there is no room in the accept queue
			r.expect(t, in.request(0, 100), ReasonAdoptRefused)
		}
		r.expect(t, in.bare(), ReasonAdoptRefused)
		r.forgetAll(t)
	})
}

// The inspector may have decided by a silent client's second ACK, and its guard not have been
// told, or not have lived: the agent asks.
func TestFixtureInspectorFailsAfterSilence(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	acts := make([]bool, topology.SlotCount)
	for i := range acts {
		acts[i] = true
	}
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		for _, heir := range []bool{false, true} {
			r.expect(t, in.bare(), ReasonForeign)
			failed := Failed{ID: rigOther, Acts: acts}
			if heir {
				failed.Heir = acts
			} else {
				r.expect(t, in.bare(), ReasonForeign)
			}
			r.check(r.f.SetFailed([]Failed{failed}))
			r.expect(t, in.request(0, 100), ReasonStray)
			r.setFailed(t)
			r.forgetAll(t)
		}
	})
}

// A tuple that is used again soon after its FIN, with numbers close to those of before: the
// record is of the new connection, whoever had the old one.
func TestFixtureGuardTupleUsedAgainSoon(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		for _, inspect := range []bool{true, false} {
			in.c.inspect = inspect
			r.expect(t, in.request(0, 100), ReasonForeign)
			if inspect {
				r.expect(t, in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
			}
			r.expect(t, in.with(100, 0, func(tcp *layers.TCP) { tcp.FIN = true; tcp.Ack += 10 }), ReasonForeign)
			again := in
			again.c.clientISN += 5000
			if !in.c.timestamps {
				r.remember(t, in.family, again.c)
			}
			r.expect(t, again.bare(), ReasonForeign)
			if inspect {
				want := again.guardedOf(topology.Undecided, 0)
				want.Seq += 5000
				r.expectInspected(t, want)
			}
			r.setFailed(t, rigOther)
			r.expect(t, again.request(0, 100), ReasonResetNoListener) // adopted
			r.setFailed(t)
			r.forgetAll(t)
		}
	})
}

// The inspector had the request, and nobody knows to whom it gave it, or whether that
// one has got it: the agent asks.
func TestFixtureInspectorFailsWithARequest(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	flow := func(in inspection) []Flow { return []Flow{{in.from(), in.to(webPort)}} }
	tests := map[string]func(t *testing.T, in inspection){
		"told nothing": func(t *testing.T, in inspection) { r.expect(t, in.request(0, 100), ReasonForeign) },
		"told": func(t *testing.T, in inspection) {
			r.expect(t, in.request(0, 100), ReasonForeign)
			r.expect(t, in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
		},
		"seen nothing": func(*testing.T, inspection) {},
	}
	for name, before := range tests {
		t.Log(name)
		r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
			r.setFailed(t)
			before(t, in)
			r.setFailed(t, rigOther)
			r.expect(t, in.request(0, 100), ReasonStray)
			r.check(r.f.Condemn(flow(in), rigOther)) // nobody has it
			r.expect(t, in.request(0, 100), ReasonResetYoung)
			r.forgetAll(t)

			r.setFailed(t)
			before(t, in)
			r.setFailed(t, rigOther)
			r.expect(t, in.request(0, 100), ReasonStray)
			r.check(r.f.Condemn(flow(in), rigThird)) // who lives, and has it
			if name != "told" {
				r.expect(t, in.request(0, 100), ReasonForeign)
			}
			r.expect(t, in.with(100, 100, func(tcp *layers.TCP) { tcp.Ack += 10 }), ReasonForeign)
			r.forgetAll(t)
		})
	}
}

// The owner that the guard was told of has failed.
func TestFixtureToldOwnerFails(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.expect(t, in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
		r.setFailed(t, rigThird)
		r.expect(t, in.request(0, 100), ReasonResetYoung)
		r.expect(t, in.with(100, 100, func(tcp *layers.TCP) { tcp.Ack += 10 }), ReasonResetOrphan)
		r.forgetAll(t)
		r.setFailed(t)
	})
}

// Two inspectors decide for one handshake, or one decides twice: that breaks I1.
func TestFixtureTwoInspectorsAreCounted(t *testing.T) {
	r := newInspecting(t)
	r.check(r.f.SetMembers(r.macs()))
	r.setRoles(t, rigThird, rigSelf)
	in := families[0].inspection(true, rigOther)
	self := topology.MAC(clusterMAC)
	r.expect(t, in.told(100, rigThird, otherMAC, self), ReasonTold)
	r.expect(t, in.told(100, rigThird, otherMAC, self), ReasonTold)
	r.expectViolations(t, 0)
	r.expect(t, in.told(100, rigOther, otherMAC, self), ReasonTold)
	r.expectViolations(t, 1)
	other := in
	other.c.owner = rigThird
	r.expect(t, other.request(0, 100), ReasonForeign)
	r.expectViolations(t, 2)
}

// The guard has an old socket of the tuple, or what rests of it: that hears nothing.
func TestFixtureToldOnUsedTuple(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	for _, f := range families {
		c := r.connect(t, f)
		in := f.inspection(true, rigOther)
		in.c.clientISN = far(sequence(t, c.server, recvQueue))
		frame := in.told(100, rigThird, otherMAC, topology.MAC(clusterMAC))
		r.expect(t, frame, ReasonTold)
		r.closeServerFirst(t, c)
		r.expect(t, frame, ReasonTold)
		r.forgetAll(t)
	}
}

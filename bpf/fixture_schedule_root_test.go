// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// ownerOf reads the owner from the SYN/ACK.
func ownerOf(f family, frame []byte) topology.NodeID {
	return topology.NodeID(frame[f.l4()+4])
}

// setPolicy gives the web service a policy.
func (r *rig) setPolicy(t rapid.TB, policy topology.Policy) {
	err := r.f.SetServices([]Service{
		{ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: webPort, Policy: policy},
		{ID: quietService, VIPs: []netip.Addr{vip4, vip6}, Port: quietPort, Policy: topology.LeastConnection},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drawLoads draws tables in which ties are common, and some near the limits of
// the arithmetic, and what was assigned before.
func drawLoads(t *rapid.T) ([]Load, [256]uint64) {
	var assigned [256]uint64
	big := rapid.OneOf(rapid.Uint64Range(0, 6), rapid.Uint64Range(1<<47, 1<<49), rapid.Uint64())
	weight := rapid.OneOf(rapid.Uint16Range(1, 3), rapid.Uint16Range(1, 65535))
	active := rapid.OneOf(rapid.Uint32Range(0, 4), rapid.Uint32())
	ids := rapid.SliceOfNDistinct(rapid.Uint8Range(1, 254), 0, 80, rapid.ID[uint8]).Draw(t, "nodes")
	loads := make([]Load, len(ids))
	for i, id := range ids {
		loads[i] = Load{
			Node: topology.NodeID(id), Weight: weight.Draw(t, "weight"), Active: active.Draw(t, "active"),
			Settled: big.Draw(t, "settled"), Base: big.Draw(t, "base"),
		}
		assigned[id] = big.Draw(t, "assigned")
	}
	return loads, assigned
}

// candidates is what the oracle is asked with.
func (r *rig) candidates(loads []Load, assigned *[256]uint64) []scheduler.Candidate {
	out := make([]scheduler.Candidate, len(loads))
	for i, l := range loads {
		out[i] = scheduler.Candidate{
			Node: l.Node, Weight: l.Weight, Active: l.Active, Settled: l.Settled, Base: l.Base, Assigned: assigned[l.Node],
			Spread: r.f.config.Spread,
		}
	}
	return out
}

// The program names the owners that scheduler.Pick names, a burst long.
func TestFixtureOwnersAgreeWithScheduler(t *testing.T) {
	r := newRig(t)
	rapid.Check(t, func(rt *rapid.T) {
		policy := rapid.SampledFrom([]topology.Policy{topology.LeastConnection, topology.RoundRobin}).Draw(rt, "policy")
		loads, assigned := drawLoads(rt)
		f := rapid.SampledFrom(families).Draw(rt, "family")
		r.f.config.Spread = rapid.SampledFrom([]uint32{1, 2, 4, 64, scheduler.MaxSpread}).Draw(rt, "spread")
		if err := r.f.applyConfig(); err != nil {
			rt.Fatal(err)
		}
		r.setPolicy(rt, policy)
		if err := r.f.SetLoads(webService, loads); err != nil {
			rt.Fatal(err)
		}
		if err := r.f.objs.Assigned.Put(uint32(webService), onevipOvByNode{Count: assigned}); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 20).Draw(rt, "burst") {
			want := scheduler.Pick(policy, r.candidates(loads, &assigned))
			r.expectOwner(t, rt, f, rapid.Uint16().Draw(rt, "port"), want)
			assigned[want]++
		}
		counts, err := r.f.Counts(webService)
		if err != nil {
			rt.Fatal(err)
		}
		assigned[topology.Undecided] = 0
		if counts.Assigned != assigned {
			rt.Fatalf("assigned %v, want %v", counts.Assigned, assigned)
		}
	})
}

func (r *rig) expectOwner(t *testing.T, rt rapid.TB, f family, port uint16, want topology.NodeID) {
	o := plainOffer(webPort)
	syn := o.syn()
	syn.SrcPort, syn.DstPort = layers.TCPPort(port), webPort
	got := r.send(t, inbound(f.client, f.vip).tcp(syn, nil))
	if want == topology.Undecided {
		if got.reason != ReasonNoNode {
			rt.Fatalf("reason %s, want %s", got.reason, ReasonNoNode)
		}
		return
	}
	if got.reason != ReasonAnswered || ownerOf(f, got.frame) != want {
		rt.Fatalf("reason %s, owner %d, want %d", got.reason, ownerOf(f, got.frame), want)
	}
}

// drawClient draws an address outside the VIPs.
func drawClient(t *rapid.T, f family) netip.Addr {
	if f.vip.Is4() {
		n := rapid.Uint32().Filter(func(n uint32) bool { return n>>24 != 10 }).Draw(t, "client")
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
	}
	raw := [16]byte{0x20, 0x01}
	binary.BigEndian.PutUint64(raw[2:], rapid.Uint64().Draw(t, "prefix"))
	binary.BigEndian.PutUint32(raw[12:], rapid.Uint32().Draw(t, "host"))
	return netip.AddrFrom16(raw)
}

// Source-hash: the row of a client is the same in both, whatever its port.
func TestFixtureSourceHashAgreesWithScheduler(t *testing.T) {
	r := newRig(t)
	r.setPolicy(t, topology.SourceHash)
	table := scheduler.SourceHash([]scheduler.Candidate{
		{Node: 1, Weight: 1}, {Node: 2, Weight: 5}, {Node: 77, Weight: 2}, {Node: 254, Weight: 3},
	})
	if err := r.f.SetSourceHash(webService, table); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		f := rapid.SampledFrom(families).Draw(rt, "family")
		f.client = drawClient(rt, f)
		want := table[scheduler.SourceBucket(f.client)]
		for range 3 {
			r.expectOwner(t, rt, f, rapid.Uint16().Draw(rt, "port"), want)
		}
	})
}

// A source-hash table that names nobody: no node may be picked.
func TestFixtureSourceHashOfNobody(t *testing.T) {
	r := newRig(t)
	r.setPolicy(t, topology.SourceHash)
	for _, f := range families {
		r.expect(t, f.segment(webPort, plainOffer(webPort).syn()), ReasonNoNode)
	}
}

// SlotOf in Go is the slot that the program looks up.
func TestFixtureSlotAgrees(t *testing.T) {
	r := newRig(t)
	table := make([]Slot, topology.SlotCount)
	rapid.Check(t, func(rt *rapid.T) {
		f := rapid.SampledFrom(families).Draw(rt, "family")
		f.client = drawClient(rt, f)
		port := rapid.Uint16().Draw(rt, "port")
		slot := SlotOf(netip.AddrPortFrom(f.client, port), f.to(webPort))
		syn := plainOffer(webPort).syn()
		syn.SrcPort, syn.DstPort = layers.TCPPort(port), webPort
		frame := inbound(f.client, f.vip).tcp(syn, nil)
		for i := range table {
			table[i].Primary = rigOther
		}
		table[slot].Primary = rigSelf
		r.setSlots(t, table)
		r.expect(t, frame, ReasonAnswered)
		table[slot].Primary = rigOther
		r.setSlots(t, table)
		r.expect(t, frame, ReasonNotPrimary)
	})
}

// Slots are used evenly by what clients look like: neighbouring addresses, and
// ports one after the other.
func TestSlotsAreUsedEvenly(t *testing.T) {
	var used [topology.SlotCount]int
	const clients, ports = 64, 256
	for i := range clients {
		client := netip.AddrFrom4([4]byte{10, 77, 1, byte(i + 1)})
		for port := range ports {
			used[SlotOf(netip.AddrPortFrom(client, uint16(40000+port)), netip.AddrPortFrom(vip4, 80))]++
		}
	}
	mean := float64(clients*ports) / topology.SlotCount
	chi := 0.0
	for _, n := range used {
		chi += (float64(n) - mean) * (float64(n) - mean) / mean
	}
	// Of a chi-square with 1023 degrees of freedom, 1255 is exceeded once in a million.
	if chi > 1255 {
		t.Fatalf("chi-square %.0f over %d slots: not even", chi, topology.SlotCount)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// pulse lets the agent's last sign of life be so old.
func (r *rig) pulse(t rapid.TB, age time.Duration) {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if err := r.f.pulseAt(time.Duration(now.Nano()) - age); err != nil {
		t.Fatal(err)
	}
}

// A node without an agent's pulse picks others by the same rules, and itself only
// where there is nobody else.
func TestFixtureNodeWithoutPulse(t *testing.T) {
	r := newRig(t)
	r.pulse(t, time.Minute)
	rapid.Check(t, func(rt *rapid.T) {
		policy := rapid.SampledFrom([]topology.Policy{topology.LeastConnection, topology.RoundRobin}).Draw(rt, "policy")
		loads, assigned := drawLoads(rt)
		others := make([]Load, 0, len(loads))
		for _, l := range loads {
			if l.Node != rigSelf {
				others = append(others, l)
			}
		}
		r.setPolicy(rt, policy)
		if err := r.f.SetLoads(webService, append([]Load{{Node: rigSelf, Weight: 1}}, others...)); err != nil {
			rt.Fatal(err)
		}
		if err := r.f.objs.Assigned.Put(uint32(webService), onevipOvByNode{Count: assigned}); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(rt, "burst") {
			want := scheduler.Pick(policy, r.candidates(others, &assigned))
			if want == topology.Undecided {
				want = rigSelf
			}
			r.expectOwner(t, rt, families[0], rapid.Uint16().Draw(rt, "port"), want)
			assigned[want]++
		}
	})
}

// The pulse of a moment ago, or none ever, changes nothing.
func TestFixturePulse(t *testing.T) {
	r := newRig(t)
	r.setOwner(t, webService, rigSelf, rigOther)
	first := func(want topology.NodeID) {
		t.Helper()
		if err := r.f.objs.Assigned.Put(uint32(webService), onevipOvByNode{}); err != nil {
			t.Fatal(err)
		}
		r.setOwner(t, webService, rigSelf, rigOther)
		r.expectOwner(t, t, families[0], 1000, want)
	}
	first(rigSelf)
	r.pulse(t, 0)
	first(rigSelf)
	r.pulse(t, time.Minute)
	first(rigOther)
	if err := r.f.Pulse(); err != nil {
		t.Fatal(err)
	}
	first(rigSelf)
	r.setPrimary(t, rigSelf) // switching tables keeps the pulse
	first(rigSelf)
}

// By source, the next bucket's owner takes an absent one's place.
func TestFixtureSourceHashWithoutPulse(t *testing.T) {
	r := newRig(t)
	r.setPolicy(t, topology.SourceHash)
	table := make([]topology.NodeID, topology.SlotCount)
	for i := range table {
		table[i] = rigSelf
		if i%16 == 0 {
			table[i] = rigOther
		}
	}
	if err := r.f.SetSourceHash(webService, table); err != nil {
		t.Fatal(err)
	}
	r.pulse(t, time.Minute)
	for port := uint16(1); port < 50; port++ {
		r.expectOwner(t, t, families[0], port, rigOther)
	}
}

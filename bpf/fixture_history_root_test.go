// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// picker asks pick_by_locality of locality.h itself, with no packet around it.
type picker struct {
	*rig
	tools *benchTools
}

func newPicker(t *testing.T) *picker {
	t.Helper()
	r := newRig(t)
	tools, err := loadTools(r.f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tools.Close() })
	return &picker{r, tools}
}

// order is struct pick_order of bench.bpf.c.
func order(policy topology.Policy, hash uint64, hasKey bool) []byte {
	code, err := policyCode(policy)
	if err != nil {
		panic(err)
	}
	out := binary.NativeEndian.AppendUint64(nil, hash)
	for _, word := range []uint32{uint32(webService), code, 0, 0} { // a service
		out = binary.NativeEndian.AppendUint32(out, word)
	}
	return binary.NativeEndian.AppendUint64(out, uint64(flag(hasKey)))
}

func (p *picker) pick(t rapid.TB, order []byte) topology.NodeID {
	node, err := p.tools.Pick.Run(&ebpf.RunOptions{Data: order})
	if err != nil {
		t.Fatal(err)
	}
	return topology.NodeID(node)
}

// story is a random history of one service, as the oracle needs to know it.
type story struct {
	*picker
	t        *rapid.T
	policy   topology.Policy
	rules    Rules
	loads    []Load
	assigned [256]uint64
	homes    []topology.NodeID
	stale    bool // our own pulse
}

// start draws a service. Decay is half the time since boot, so that a set can be older
// than that, or not, on the clock that there is.
func (p *picker) start(t *rapid.T) *story {
	s := &story{picker: p, t: t}
	now, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	low := rapid.OneOf(rapid.Uint32Range(1, 200), rapid.Uint32Range(1, math.MaxUint32/2)).Draw(t, "low")
	s.policy = rapid.SampledFrom([]topology.Policy{topology.Locality, topology.BoundedHash}).Draw(t, "policy")
	s.rules = Rules{
		Key: "path", Silent: time.Second, Decay: now / 2,
		Low: low, High: low + rapid.Uint32Range(0, 300).Draw(t, "more"),
		Bound: float64(rapid.Uint32Range(scheduler.BoundUnit, 4*scheduler.BoundUnit).Draw(t, "bound")) / scheduler.BoundUnit,
	}
	err = p.f.SetServices([]Service{{ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: webPort, Policy: s.policy, Rules: s.rules}})
	if err != nil {
		t.Fatal(err)
	}
	s.f.config.Spread = rapid.SampledFrom([]uint32{1, 2, 4, scheduler.MaxSpread}).Draw(t, "spread")
	if err := s.f.applyConfig(); err != nil {
		t.Fatal(err)
	}
	if err := s.f.forgetBuckets(webService); err != nil {
		t.Fatal(err)
	}
	s.newLoads()
	s.newHomes()
	return s
}

// newLoads: heartbeats came, and nodes with them or went.
func (s *story) newLoads() {
	s.loads, s.assigned = rapid.SampledFrom([]func(*rapid.T) ([]Load, [256]uint64){drawLoads, drawModest}).Draw(s.t, "loads")(s.t)
	if err := s.f.SetLoads(webService, s.loads); err != nil {
		s.t.Fatal(err)
	}
	if err := s.f.objs.Assigned.Put(uint32(webService), onevipOvByNode{Count: s.assigned}); err != nil {
		s.t.Fatal(err)
	}
}

// drawModest draws loads as they are, near the thresholds and bounds of a few nodes.
func drawModest(t *rapid.T) ([]Load, [256]uint64) {
	var assigned [256]uint64
	weight := rapid.SampledFrom([]uint16{8, 56, scheduler.WeightUnit, 3 * scheduler.WeightUnit})
	most := rapid.SampledFrom([]uint32{0, 3, 90, 700}).Draw(t, "most")
	ids := rapid.SliceOfNDistinct(rapid.Uint8Range(1, 12), 0, 12, rapid.ID[uint8]).Draw(t, "nodes")
	loads := make([]Load, len(ids))
	for i, id := range ids {
		loads[i] = Load{Node: topology.NodeID(id), Weight: weight.Draw(t, "weight"), Active: rapid.Uint32Range(0, most).Draw(t, "active")}
		assigned[id] = rapid.Uint64Range(0, 3).Draw(t, "assigned")
	}
	return loads, assigned
}

// newHomes: the table of homes follows the loads, a while later.
func (s *story) newHomes() {
	var of []scheduler.Candidate
	for _, l := range s.loads {
		of = append(of, scheduler.Candidate{Node: l.Node, Weight: l.Weight})
	}
	s.homes = scheduler.SourceHash(of)
	if err := s.f.SetSourceHash(webService, s.homes); err != nil {
		s.t.Fatal(err)
	}
}

// newSet gives a bucket any set, of nodes that there are or not, changed long ago or
// right now.
func (s *story) newSet(number uint16) {
	ids := []uint8{1, 100, 254}
	for _, l := range s.loads {
		ids = append(ids, uint8(l.Node))
	}
	set := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 8, rapid.ID[uint8]).Draw(s.t, "set")
	var b onevipOvBucket
	for i, id := range set {
		b.Nodes |= uint64(id) << (8 * i)
	}
	if rapid.Bool().Draw(s.t, "recent") {
		now, err := Now()
		if err != nil {
			s.t.Fatal(err)
		}
		b.Changed = uint64(now)
	}
	if err := s.f.objs.Localities.Put(uint32(webService)*localityBuckets+uint32(number), &b); err != nil {
		s.t.Fatal(err)
	}
}

// candidates leaves our own node out, if it has no pulse and there are others.
func (s *story) candidates() []scheduler.Candidate {
	loads := s.loads
	if s.stale && len(loads) > 1 {
		loads = nil
		for _, l := range s.loads {
			if l.Node != rigSelf {
				loads = append(loads, l)
			}
		}
	}
	return s.picker.candidates(loads, &s.assigned)
}

func (s *story) bucket(number uint16) onevipOvBucket {
	var b onevipOvBucket
	if err := s.f.objs.Localities.Lookup(uint32(webService)*localityBuckets+uint32(number), &b); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// decide asks the oracle.
func (s *story) decide(now time.Duration, number uint16, b onevipOvBucket) scheduler.Decision {
	bucket := scheduler.Bucket{Number: number, Set: unpackNodes(b.Nodes), Changed: time.Duration(b.Changed)}
	if s.policy == topology.Locality {
		rules := scheduler.LARD{Low: s.rules.Low, High: s.rules.High, Decay: s.rules.Decay}
		return rules.Decide(now, bucket, s.homes, s.candidates())
	}
	bound := uint32(s.rules.Bound * scheduler.BoundUnit)
	d := scheduler.Decision{Set: bucket.Set}
	d.Owner, d.Outcome = scheduler.BoundedHash(bound, bucket, s.homes, s.candidates())
	return d
}

func (s *story) inspections() Inspections {
	n, err := s.f.Inspections(webService)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// newPulse comes with each step, or a slow run would make it stale.
func (s *story) newPulse() {
	s.stale = rapid.Bool().Draw(s.t, "stale")
	age := time.Duration(0)
	if s.stale {
		age = time.Minute
	}
	s.pulse(s.t, age)
}

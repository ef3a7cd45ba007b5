// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// request insists that program and oracle agree about one: owner, set, and outcome.
func (s *story) request(number uint16) {
	was, counts := s.bucket(number), s.inspections()
	before, err := Now()
	if err != nil {
		s.t.Fatal(err)
	}
	want := s.decide(before, number, was)
	got := s.pick(s.t, order(s.policy, uint64(rapid.Uint32().Draw(s.t, "hash"))<<12|uint64(number), true))
	is := s.bucket(number)
	if got != want.Owner {
		s.t.Fatalf("owner %d, want %d of %+v, set %v, home %d", got, want.Owner, s.candidates(), unpackNodes(was.Nodes), s.homes[number%1024])
	}
	if diff := cmp.Diff(want.Set, unpackNodes(is.Nodes)); diff != "" {
		s.t.Fatalf("set (-want +got):\n%s%+v of %+v", diff, want, s.candidates())
	}
	if is.Nodes == was.Nodes && is.Changed != was.Changed || is.Nodes != was.Nodes && is.Changed < uint64(before) {
		s.t.Fatalf("set %#x of %d became %#x of %d; it was %d", was.Nodes, was.Changed, is.Nodes, is.Changed, before)
	}
	if want.Owner != topology.Undecided {
		s.assigned[want.Owner]++
		counts.Outcomes[want.Outcome.String()]++
		was.Requests++
	}
	if diff := cmp.Diff(counts, s.inspections()); diff != "" || is.Requests != was.Requests {
		s.t.Fatalf("requests %d, want %d; counts (-want +got):\n%s", is.Requests, was.Requests, diff)
	}
}

// keyless is a request without a key: by least connection, whatever the policy.
func (s *story) keyless() {
	want := scheduler.Pick(topology.LeastConnection, s.candidates())
	if got := s.pick(s.t, order(s.policy, rapid.Uint64().Draw(s.t, "hash"), false)); got != want {
		s.t.Fatalf("without a key: owner %d, want %d of %+v", got, want, s.candidates())
	}
	if want != topology.Undecided {
		s.assigned[want]++
	}
}

// The program decides as package scheduler does, whatever has happened: loads and
// nodes change, homes follow or not yet, sets come from elsewhere, time passes, our own
// agent hangs.
func TestFixtureLocalityAgreesWithScheduler(t *testing.T) {
	p := newPicker(t)
	seen := map[string]uint64{}
	rapid.Check(t, func(rt *rapid.T) {
		s := p.start(rt)
		bucket := rapid.SampledFrom([]uint16{0, 5, 1024 + 5, 4095})
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			s.newPulse()
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				s.newLoads()
			case 1:
				s.newHomes()
			case 2, 3:
				s.newSet(bucket.Draw(rt, "bucket"))
			case 4:
				s.keyless()
			default:
				s.request(bucket.Draw(rt, "bucket"))
			}
		}
		for name, n := range s.inspections().Outcomes {
			seen[name] = n
		}
	})
	for _, name := range outcomes {
		if seen[name] == 0 {
			t.Errorf("no request was %s: the histories show too little", name)
		}
	}
}

// even has nodes from 1 on, alike and idle.
func (p *picker) even(t testing.TB, nodes topology.NodeID) {
	t.Helper()
	var loads []Load
	var of []scheduler.Candidate
	for id := range nodes {
		loads = append(loads, Load{Node: id + 1, Weight: scheduler.WeightUnit})
		of = append(of, scheduler.Candidate{Node: id + 1, Weight: scheduler.WeightUnit})
	}
	if err := p.f.SetLoads(webService, loads); err != nil {
		t.Fatal(err)
	}
	if err := p.f.SetSourceHash(webService, scheduler.SourceHash(of)); err != nil {
		t.Fatal(err)
	}
}

// pickOnAllCPUs makes 2000 picks by four goroutines, each for one hash.
func (p *picker) pickOnAllCPUs(t testing.TB, policy topology.Policy, hash func() uint64) {
	t.Helper()
	run := make(chan error, 4)
	for range cap(run) {
		go func() {
			_, _, err := p.tools.Pick.Benchmark(order(policy, hash(), true), 500, nil)
			run <- err
		}()
	}
	for range cap(run) {
		if err := <-run; err != nil {
			t.Fatal(err)
		}
	}
}

// Between two installations of loads the sum that bounded-hash goes by is kept, not made
// anew: it is right to the last connection, whoever picks at the same time.
func TestFixtureBoundedSumOnAllCPUs(t *testing.T) {
	p := newPicker(t)
	p.setLocality(t, topology.BoundedHash, "path")
	p.even(t, 20)
	p.pick(t, order(topology.BoundedHash, 0, true)) // makes the tree
	p.pickOnAllCPUs(t, topology.BoundedHash, rand.Uint64)
	var tree onevipOvTree
	if err := p.f.objs.Trees.Lookup(uint32(webService), &tree); err != nil {
		t.Fatal(err)
	}
	if tree.Load != 2001 || tree.Weight != 20*scheduler.WeightUnit {
		t.Errorf("the sum is %d connections, weight %d; want 2001, %d", tree.Load, tree.Weight, 20*scheduler.WeightUnit)
	}
}

// One hot bucket on all CPUs at once: no set has a node twice, and none is lost that the
// counts say was gained.
func TestFixtureLocalitySetsOnAllCPUs(t *testing.T) {
	p := newPicker(t)
	p.setLocality(t, topology.Locality, "path")
	p.even(t, 20)
	p.pickOnAllCPUs(t, topology.Locality, func() uint64 { return rand.Uint64()&^4095 | 77 })
	buckets := p.buckets(t)
	if len(buckets) != 1 || buckets[0].Requests != 2000 {
		t.Fatalf("buckets %v, want one with 2000 requests", buckets)
	}
	n, err := p.f.Inspections(webService)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packNodes(buckets[0].Nodes); err != nil {
		t.Errorf("set %v: %v", buckets[0].Nodes, err)
	}
	if grown := n.Outcomes["grown"]; len(buckets[0].Nodes) < 8 || grown < 7 {
		t.Errorf("set %v after %v: it should have grown to 8", buckets[0].Nodes, n.Outcomes)
	}
}

// The whole way: requests by path, by a client without end, are handed to the nodes
// that package scheduler says.
func TestFixtureRequestsAgreeWithScheduler(t *testing.T) {
	r := newInspecting(t)
	members, isn := map[topology.NodeID]topology.MAC{}, uint32(0)
	for id := topology.NodeID(1); id <= 12; id++ {
		members[id] = topology.MAC{2, 0, 0, 0, 0, byte(id)}
	}
	r.check(r.f.SetMembers(members))
	rapid.Check(t, func(rt *rapid.T) {
		s := (&picker{rig: r}).start(rt)
		s.loads = slices.DeleteFunc(s.loads, func(l Load) bool { return l.Node == rigSelf || l.Node > 12 })
		s.check(s.f.SetLoads(webService, s.loads))
		s.newPulse()
		for range rapid.IntRange(1, 20).Draw(rt, "requests") {
			isn += 1 << 20
			s.handed(rapid.SampledFrom(families).Draw(rt, "family"), isn, rapid.SampledFrom([]string{"/", "/a", "/b?c=d"}).Draw(rt, "path"))
		}
	})
}

// handed expects a request where the oracle wants it.
func (s *story) handed(f family, isn uint32, path string) {
	s.t.Helper()
	o := plainOffer(webPort)
	o.isn = isn
	c := o.cookie(f, rigSelf, 100)
	c.inspect = true
	c.client = netip.AddrPortFrom(f.client, uint16(isn>>20)) // else it may be of the connection before
	tcp := c.ack(testKeys(100).Current)
	tcp.SrcPort, tcp.DstPort, tcp.Window = layers.TCPPort(c.client.Port()), webPort, 501
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
	hash, _, why := scheduler.Key(topology.KeyPath, 0, "", request)
	if why != scheduler.Inspected {
		s.t.Fatalf("no key: %s", why)
	}
	now, err := Now()
	if err != nil {
		s.t.Fatal(err)
	}
	number := uint16(hash % scheduler.LocalityBuckets)
	want := s.decide(now, number, s.bucket(number))
	got := s.send(s.rig.t, inbound(f.client, f.vip).tcp(tcp, request))
	if want.Owner == topology.Undecided {
		if got.reason != ReasonNoNode {
			s.t.Fatalf("reason %s, want %s", got.reason, ReasonNoNode)
		}
		return
	}
	if owner := topology.NodeID(got.frame[5]); got.reason != ReasonHandedOver || owner != want.Owner {
		s.t.Fatalf("reason %s, owner %d; want %s, %d of %+v", got.reason, owner, ReasonHandedOver, want.Owner, s.candidates())
	}
	s.assigned[want.Owner]++
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

const whole = weightScale // a node of weight 1 that is warm

func standingsOf(exclusions ...exclusion) (out []standing) {
	for i, e := range exclusions {
		out = append(out, standing{node: topology.NodeID(i + 1), weight: 1, incarnation: 7, exclusion: e})
	}
	return out
}

func listed(table []bpf.Load) (out []topology.NodeID) {
	for _, l := range table {
		out = append(out, l.Node)
	}
	return out
}

func TestWhoIsListed(t *testing.T) {
	tests := []struct {
		name     string
		all      []exclusion // of nodes 1, 2, ...
		want     []topology.NodeID
		failOpen bool
	}{
		{"all, from self on", []exclusion{pickable, pickable, pickable}, []topology.NodeID{2, 3, 1}, false},
		{"not who is excluded", []exclusion{silent, unhealthy, pickable, draining, full}, []topology.NodeID{3}, false},
		{"none is healthy: who is heard", []exclusion{unhealthy, silent, unhealthy, draining}, []topology.NodeID{3, 1}, true},
		{"a full node is a healthy one", []exclusion{unhealthy, full}, nil, false},
		{"all are draining: nobody, as was asked for", []exclusion{draining, draining}, nil, false},
		{"nobody is heard", []exclusion{silent, silent}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServiceLoads(start, topology.RoundRobin)
			table := s.update(start, 2, standingsOf(tt.all...), new([256]uint64))
			if diff := cmp.Diff(tt.want, listed(table)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s.failOpen != tt.failOpen {
				t.Errorf("failOpen is %t, want %t", s.failOpen, tt.failOpen)
			}
		})
	}
}

func TestWeightsInTheTable(t *testing.T) {
	s := newServiceLoads(start, topology.RoundRobin)
	all := []standing{{node: 1, weight: 1, active: 3}, {node: 2, weight: 1000}}
	want := []bpf.Load{{Node: 1, Weight: 64, Active: 3}, {Node: 2, Weight: 64000}}
	if diff := cmp.Diff(want, s.update(start, 1, all, new([256]uint64))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// weightAfter runs a service for a minute, then takes node 2 away for some time,
// and tells its weight when it is back.
func weightAfter(away time.Duration, boot uint64) uint16 {
	s, now := newServiceLoads(start, topology.RoundRobin), start.Add(time.Minute)
	s.update(start, 1, standingsOf(pickable, pickable), new([256]uint64))
	s.update(now, 1, standingsOf(pickable, pickable), new([256]uint64))
	s.update(now, 1, standingsOf(pickable, silent), new([256]uint64))
	back := standingsOf(pickable, pickable)
	back[1].incarnation = boot
	table := s.update(now.Add(away), 1, back, new([256]uint64))
	return table[1].Weight
}

func TestSlowStart(t *testing.T) {
	tests := []struct {
		name string
		away time.Duration
		boot uint64
		want uint16
	}{
		{"a lost heartbeat or two cost nothing", 400 * time.Millisecond, 7, whole},
		{"away for half of it", slowStart / 2, 7, whole / 2},
		{"away for long", time.Minute, 7, whole / rampSteps},
		{"rebooted meanwhile", 400 * time.Millisecond, 8, whole / rampSteps},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := weightAfter(tt.away, tt.boot); got != tt.want {
				t.Errorf("weight %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSlowStartEnds(t *testing.T) {
	w := warmth{at: start}
	var weights []uint16
	for i := range 12 {
		w.pass(start.Add(time.Duration(i)*time.Second), i > 0)
		weights = append(weights, w.weight(2)/16)
	}
	if diff := cmp.Diff([]uint16{1, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 8}, weights); diff != "" {
		t.Errorf("eighths of the weight, second by second (-want +got):\n%s", diff)
	}
}

func TestAStartingClusterIsEven(t *testing.T) {
	s := newServiceLoads(start, topology.RoundRobin)
	s.update(start, 1, standingsOf(pickable, silent), new([256]uint64))
	table := s.update(start.Add(slowStart-time.Second), 1, standingsOf(pickable, pickable), new([256]uint64))
	if table[0].Weight != whole || table[1].Weight != whole {
		t.Errorf("weights are %d and %d, want %d both", table[0].Weight, table[1].Weight, whole)
	}
	late := standingsOf(pickable, pickable, pickable)
	s.update(start.Add(slowStart), 1, standingsOf(pickable, pickable), new([256]uint64))
	table = s.update(start.Add(time.Minute), 1, late, new([256]uint64))
	if table[2].Weight != whole/rampSteps {
		t.Errorf("a node that comes later has weight %d, want %d", table[2].Weight, whole/rampSteps)
	}
}

// candidates are what the eBPF sees.
func candidates(table []bpf.Load, assigned *[256]uint64) (out []scheduler.Candidate) {
	for _, l := range table {
		out = append(out, scheduler.Candidate{Node: l.Node, Weight: l.Weight, Active: l.Active,
			Assigned: assigned[l.Node], Settled: l.Settled, Base: l.Base})
	}
	return out
}

// share is what breaks ties, as a number.
func share(l bpf.Load, assigned *[256]uint64) float64 {
	return float64(assigned[l.Node]-l.Base) / float64(l.Weight)
}

// A node that comes back starts level with the least served of those that
// stayed, and those keep their order.
func TestBaseOfAReturningNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "nodes")
		s, assigned := newServiceLoads(start, topology.RoundRobin), new([256]uint64)
		all := standingsOf(slices.Repeat([]exclusion{pickable}, n)...)
		for i := range all {
			all[i].weight = rapid.Uint16Range(1, 9).Draw(t, "weight")
		}
		now := start
		var table []bpf.Load
		for range rapid.IntRange(2, 12).Draw(t, "rounds") {
			now = now.Add(time.Second)
			before := s.wasListed()
			for i := range all {
				all[i].exclusion = rapid.SampledFrom([]exclusion{pickable, pickable, silent}).Draw(t, "exclusion")
			}
			previous := table
			table = s.update(now, 1, all, assigned)
			checkShares(t, table, previous, before, assigned)
			for range rapid.IntRange(0, 100).Draw(t, "burst") {
				if id := scheduler.Pick(topology.RoundRobin, candidates(table, assigned)); id != topology.Undecided {
					assigned[id]++
				}
			}
		}
	})
}

func (s *serviceLoads) wasListed() map[topology.NodeID]uint16 {
	out := map[topology.NodeID]uint16{}
	for id, n := range s.nodes {
		if n.listed {
			out[id] = n.weight
		}
	}
	return out
}

func checkShares(t *rapid.T, table, previous []bpf.Load, before map[topology.NodeID]uint16, assigned *[256]uint64) {
	least := -1.0
	for _, l := range table {
		if before[l.Node] == l.Weight && (least < 0 || share(l, assigned) < least) {
			least = share(l, assigned)
		}
	}
	for _, l := range table {
		if l.Base > assigned[l.Node] {
			t.Fatalf("base %d of node %d is above assigned %d", l.Base, l.Node, assigned[l.Node])
		}
		if before[l.Node] != l.Weight && least >= 0 && (share(l, assigned) > least || share(l, assigned) < least-1/float64(l.Weight)) {
			t.Fatalf("node %d starts at %g, the least served of the others is at %g", l.Node, share(l, assigned), least)
		}
	}
	checkOrder(t, table, previous, before, assigned)
}

// checkOrder: between nodes that stayed, differences of shares are as before, but
// for a connection each that was rounded away.
func checkOrder(t *rapid.T, table, previous []bpf.Load, before map[topology.NodeID]uint16, assigned *[256]uint64) {
	old := map[topology.NodeID]float64{}
	for _, l := range previous {
		old[l.Node] = share(l, assigned)
	}
	for _, a := range table {
		for _, b := range table {
			if before[a.Node] != a.Weight || before[b.Node] != b.Weight {
				continue
			}
			was, is := old[a.Node]-old[b.Node], share(a, assigned)-share(b, assigned)
			if rounded := 1/float64(a.Weight) + 1/float64(b.Weight); was-is > rounded || is-was > rounded {
				t.Fatalf("nodes %d and %d: shares were %g apart, now %g", a.Node, b.Node, was, is)
			}
		}
	}
}

// Under load n1 got nothing, for it was loaded already. When all are idle again it
// must not get everything, but its share; in round-robin it is owed the rest.
func TestWhoWasAvoidedDoesNotCatchUp(t *testing.T) {
	tests := []struct {
		policy topology.Policy
		want   [5]uint64 // of 12 connections, by node
	}{
		{topology.LeastConnection, [5]uint64{1: 4, 2: 3, 3: 3, 4: 2}}, // one ahead at most
		{topology.RoundRobin, [5]uint64{1: 12}},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			s, assigned := newServiceLoads(start, tt.policy), new([256]uint64)
			all := standingsOf(pickable, pickable, pickable, pickable)
			s.update(start, 1, all, assigned)
			assigned[2], assigned[3], assigned[4] = 100, 100, 100
			for i := range all {
				all[i].adopted = assigned[i+1]
			}
			var got [5]uint64
			for i := range 12 {
				table := s.update(start.Add(time.Duration(i)*time.Second), 1, all, assigned)
				id := scheduler.Pick(tt.policy, candidates(table, assigned))
				got[id]++
				assigned[id]++
				all[id-1].adopted++
			}
			if got != tt.want {
				t.Errorf("connections by node %v, want %v", got[1:], tt.want[1:])
			}
		})
	}
}

// What a rotation leaves is never forgiven: updating the table after every
// connection changes nothing of who gets the next.
func TestForgivingLeavesRotationsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shares := make([]served, rapid.IntRange(1, 8).Draw(t, "nodes"))
		for i := range shares {
			shares[i] = served{weight: rapid.Uint64Range(1, 64000).Draw(t, "weight"), stays: true}
		}
		for range rapid.IntRange(0, 300).Draw(t, "connections") {
			next := 0
			for i, s := range shares {
				if s.count*shares[next].weight < shares[next].count*s.weight {
					next = i
				}
			}
			shares[next].count++
			if forgive(shares) {
				t.Fatalf("forgave in a rotation: %+v", shares)
			}
		}
	})
}

// Heartbeats that lag behind do not make a burst uneven.
func TestBurstOverOldHeartbeats(t *testing.T) {
	s, assigned := newServiceLoads(start, topology.RoundRobin), new([256]uint64)
	all := standingsOf(pickable, pickable, pickable, pickable)
	s.update(start, 1, all, assigned)
	for i := range 40 {
		all[i%4].adopted = assigned[i%4+1] // one node at a time reports
		table := s.update(start.Add(time.Duration(i)*time.Millisecond), 1, all, assigned)
		for range 10 {
			assigned[scheduler.Pick(topology.LeastConnection, candidates(table, assigned))]++
		}
	}
	for id := 1; id <= 4; id++ {
		if assigned[id] < 90 || assigned[id] > 110 {
			t.Errorf("node %d got %d of 400", id, assigned[id])
		}
	}
}

func TestProgramsLoadedAnew(t *testing.T) {
	s, assigned := newServiceLoads(start, topology.RoundRobin), new([256]uint64)
	assigned[1], assigned[2] = 1000, 1000
	s.update(start, 1, standingsOf(pickable, pickable), assigned)
	again := new([256]uint64)
	again[1], again[2] = 5, 2
	want := []bpf.Load{{Node: 1, Weight: whole, Settled: 5, Base: 5}, {Node: 2, Weight: whole, Settled: 2, Base: 2}}
	if diff := cmp.Diff(want, s.update(start.Add(time.Second), 1, standingsOf(pickable, pickable), again)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testRoster has nodes 1 (self, boot 100), 2 (boot 200) and 3 (boot not known),
// and service 0.
func testRoster() roster {
	return roster{
		members:  map[topology.NodeID]uint64{1: 100, 2: 200, 3: 0},
		services: map[topology.ServiceID]bool{0: true},
	}
}

func testPeers() *peers {
	p := newPeers(100)
	p.become(1)
	return p
}

func beatOf(node topology.NodeID, boot, sequence uint64) heartbeat {
	return heartbeat{Node: node, Incarnation: boot, Sequence: sequence,
		Services: []serviceBeat{{Service: 0, Healthy: true, Active: 5, Adopted: []adoption{{1, 40}, {2, 9}}}}}
}

func TestPeersTake(t *testing.T) {
	tests := []struct {
		name string
		beat heartbeat
		want refusal
	}{
		{"a member", beatOf(2, 200, 11), accepted},
		{"the next", beatOf(2, 200, 12), accepted},
		{"the same again", beatOf(2, 200, 12), refusedReplay},
		{"an older one", beatOf(2, 200, 3), refusedReplay},
		{"another boot than the store's", beatOf(2, 201, 99), refusedIncarnation},
		{"boot not known to the store", beatOf(3, 300, 50), accepted},
		{"a new boot begins its own sequence", beatOf(3, 301, 1), accepted},
		{"our echo", beatOf(1, 100, 1), refusedOwn},
		{"our id elsewhere", beatOf(1, 101, 1), refusedSameID},
		{"no member", beatOf(4, 400, 1), refusedUnknown},
	}
	p := testPeers()
	for _, tt := range tests {
		if got := p.take(start, tt.beat, testRoster()); got != tt.want {
			t.Errorf("%s: refusal %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPeersFile(t *testing.T) {
	p := testPeers()
	p.take(start, beatOf(2, 200, 1), testRoster())
	got, boot, ok := p.of(2, 0)
	want := report{heard: start, healthy: true, active: 5, adopted: 40}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(report{})); diff != "" || boot != 200 || !ok {
		t.Errorf("boot %d, there %t, report (-want +got):\n%s", boot, ok, diff)
	}
	without := beatOf(2, 200, 2)
	without.Services[0].Adopted = nil
	p.take(start, without, testRoster())
	if got, _, _ := p.of(2, 0); got.adopted != 40 {
		t.Errorf("adopted %d after a frame that does not mention us, want 40 as before", got.adopted)
	}
	strange := beatOf(2, 200, 3)
	strange.Services[0].Service = 7
	p.take(start, strange, testRoster())
	if _, _, ok := p.of(2, 7); ok {
		t.Error("a service that nobody knows is kept")
	}
}

func TestPeersLeave(t *testing.T) {
	p := testPeers()
	p.take(start, beatOf(2, 200, 1), testRoster())
	p.take(start, heartbeat{Node: 2, Incarnation: 200, Sequence: 2, Leaving: true}, testRoster())
	if got, _, _ := p.of(2, 0); !got.heard.IsZero() {
		t.Error("a node that left counts as heard")
	}
}

func TestPeersForget(t *testing.T) {
	p := testPeers()
	p.take(start, beatOf(2, 200, 1), testRoster())
	p.take(start, beatOf(3, 300, 1), testRoster())
	p.keep(roster{members: map[topology.NodeID]uint64{1: 0, 2: 0}})
	if len(p.known) != 1 || len(p.known[2].services) != 0 {
		t.Errorf("known are %v, want node 2 without services", p.known)
	}
	p.become(5)
	if len(p.known) != 0 {
		t.Error("adoptions reported for another id are kept")
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// The tests of this file run agents whole, in a bubble as those of agent_test.go.

// inspecting begins with a service that is inspected by two nodes.
func inspecting(t *testing.T, test func(b *bubble)) {
	inBubble(t, func(b *bubble) {
		v := testView()
		withPolicy(topology.Locality)(&v)
		b.apply(v)
		test(b)
	})
}

// choose is what the filter of a node does to a bucket.
func (m *member) choose(b *bubble, bucket uint16, nodes ...topology.NodeID) {
	b.t.Helper()
	now, err := monotonic()
	if err != nil {
		b.t.Fatal(err)
	}
	m.filter.setBucket(0, bpf.Bucket{Index: bucket, Nodes: nodes, Changed: now, Requests: 1})
}

// wantSet looks at a bucket in the filters of members, and in the store.
func (b *bubble) wantSet(bucket uint16, names []topology.NodeName, ids []topology.NodeID, members ...*member) {
	b.t.Helper()
	if diff := cmp.Diff(names, b.view().Locality["web"][int(bucket)].Nodes, cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("bucket %d in the store (-want +got):\n%s", bucket, diff)
	}
	for i, m := range members {
		if diff := cmp.Diff(ids, sorted(m.filter.nodesOf(0, bucket)), cmpopts.EquateEmpty()); diff != "" {
			b.t.Errorf("bucket %d in filter %d (-want +got):\n%s", bucket, i, diff)
		}
	}
}

func noMetric(t *testing.T, m *member, name string) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			t.Errorf("%s has series: %v", name, f.Metric)
		}
	}
}

func TestInspectorsShareTheirSets(t *testing.T) {
	inspecting(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(2 * time.Second)
		m1.choose(b, 7, 2)
		b.pass(3 * time.Second)
		b.wantSet(7, []topology.NodeName{"n2"}, []topology.NodeID{2}, m1, m2)
		wantMetric(t, m2, "onevip_locality_sets", 1)
		wantMetric(t, m1, "onevip_agent_localities_written_total", 1)
		wantMetric(t, m1, "onevip_locality_requests_total", 7)
		wantMetric(t, m1, "onevip_locality_fallbacks_total", 2)
		m2.choose(b, 7, 2, 1)
		b.pass(3 * time.Second)
		b.wantSet(7, []topology.NodeName{"n1", "n2"}, []topology.NodeID{1, 2}, m1, m2)
		m1.choose(b, 7)
		b.pass(3 * time.Second)
		b.wantSet(7, nil, nil, m1, m2)
		wantMetric(t, m2, "onevip_locality_sets", 0)
		m1.take()
		b.pass(10 * time.Second)
		if slices.Contains(m1.take(), "buckets 0") {
			t.Error("a set that did not change is written into the filter again")
		}
	})
}

func TestAnInspectorBeginsWarm(t *testing.T) {
	inspecting(t, func(b *bubble) {
		m1 := b.start("n1", 100)
		b.pass(2 * time.Second)
		m1.choose(b, 7, 2)
		m1.choose(b, 9, 1, 2)
		b.pass(2 * time.Second)
		m2 := b.start("n2", 200)
		b.pass(2 * time.Second)
		b.wantSet(7, []topology.NodeName{"n2"}, []topology.NodeID{2}, m2)
		b.wantSet(9, []topology.NodeName{"n1", "n2"}, []topology.NodeID{1, 2}, m2)
	})
}

// Without etcd each goes by its own sets; what they changed meanwhile is shared later, as
// fast as is allowed.
func TestSetsInAnOutage(t *testing.T) {
	inspecting(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(2 * time.Second)
		b.store.Interrupt()
		const changed = 3 * localityRate
		for i := range uint16(changed) {
			m1.choose(b, i, 2)
		}
		b.pass(30 * time.Second)
		if got := m1.filter.nodesOf(0, 1); len(got) != 1 || len(m2.filter.nodesOf(0, 1)) != 0 {
			t.Errorf("in the outage bucket 1 has %v, and the other %v", got, m2.filter.nodesOf(0, 1))
		}
		b.store.Restore()
		for before := 0; before < changed; {
			b.pass(time.Second)
			stored := len(b.view().Locality["web"])
			if stored == before || stored > before+localityRate {
				t.Fatalf("%d more in a second, want 1 to %d", stored-before, localityRate)
			}
			before = stored
		}
		b.pass(3 * time.Second)
		b.wantSet(changed-1, []topology.NodeName{"n2"}, []topology.NodeID{2}, m1, m2)
	})
}

func TestSetsThatCanNotBeWrittenAreTriedAgain(t *testing.T) {
	inspecting(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(2 * time.Second)
		m2.fail("buckets", errors.New("map is gone"))
		m1.choose(b, 7, 2)
		b.pass(3 * time.Second)
		b.wantSet(7, []topology.NodeName{"n2"}, []topology.NodeID{}, m2)
		m2.fail("buckets", nil)
		b.pass(2 * time.Second)
		b.wantSet(7, []topology.NodeName{"n2"}, []topology.NodeID{2}, m1, m2)
	})
}

func TestWhatWasAskedForIsTold(t *testing.T) {
	inspecting(t, func(b *bubble) {
		m := b.start("n1", 100)
		m.filter.setBucket(0, bpf.Bucket{Index: 9, Requests: 1000}) // before this agent
		b.pass(2 * time.Second)
		m.filter.setBucket(0, bpf.Bucket{Index: 9, Requests: 1003})
		m.filter.setBucket(0, bpf.Bucket{Index: 7, Requests: 5})
		b.pass(seenEvery + time.Second)
		got := b.view().Seen["n1"]["web"]
		want := []state.SeenBucket{{Bucket: 7, Requests: 5, Sample: "/7"}, {Bucket: 9, Requests: 3, Sample: "/9"}}
		if diff := cmp.Diff(want, got.Buckets); diff != "" || got.Requests != 8 {
			t.Errorf("of %d requests (-want +got):\n%s", got.Requests, diff)
		}
		v := testView()
		withPolicy(topology.LeastConnection)(&v)
		b.apply(v)
		b.pass(seenEvery + time.Second)
		noMetric(t, m, "onevip_locality_requests_total")
		noMetric(t, m, "onevip_locality_sets")
		if got := b.view().Seen["n1"]; len(got) > 0 {
			t.Errorf("told of a service that is not inspected: %+v", got)
		}
	})
}

// Until the store shows what was written, it is not written again.
func TestSetsAreWrittenOnce(t *testing.T) {
	f := newMemoryFilter(&callLog{})
	l := newLocalities(Config{Store: state.NewMemory()}, parts{core: &core{about: state.Agent{Name: "n1"}}, monotonic: monotonic}, newMetrics(), make(chan event, 1))
	l.filter = f
	now, _ := monotonic()
	f.setBucket(0, bpf.Bucket{Index: 7, Nodes: []topology.NodeID{2}, Changed: now})
	v := testView() // a late one
	withPolicy(topology.Locality)(&v)
	if err := l.pass(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if again := l.core.due(time.Now(), localityRate); len(again) > 0 {
		t.Errorf("to be written again: %+v", again)
	}
	l.store.(*state.Memory).Interrupt()
	now++
	f.setBucket(0, bpf.Bucket{Index: 7, Nodes: []topology.NodeID{1}, Changed: now})
	if err := l.pass(t.Context(), v); err == nil || len(l.core.due(time.Now(), localityRate)) != 1 {
		t.Errorf("error %v; want one, and the set to be written again", err)
	}
}

func TestRequestsArePublishedOnceASecond(t *testing.T) {
	s := runningStory(t, withPolicy(topology.Locality))
	s.step(reportDue{})
	seen := []state.LocalitySeen{{Service: "web", Requests: 3}}
	none[publish](t, s.step(requestsSeen{seen}))
	none[publish](t, s.step(surveyed{}))
	if diff := cmp.Diff(seen, one[publish](t, s.step(reportDue{})).record.Seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

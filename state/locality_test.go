// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/topology"
)

// sampleSet is a set that changed some seconds after noon.
func sampleSet(bucket, seconds int, nodes ...topology.NodeName) Locality {
	return Locality{Service: "web", Bucket: bucket, Nodes: nodes, Changed: noon.Add(time.Duration(seconds) * time.Second), Writer: "n1"}
}

func putSets(t *testing.T, w world, sets ...Locality) {
	t.Helper()
	if err := w.PutLocalities(t.Context(), sets); err != nil {
		t.Fatal(err)
	}
}

// testLocalities: of what is written of a bucket, the newest change stands there.
func testLocalities(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	sets := []Locality{sampleSet(7, 2, "n2", "n3"), sampleSet(7, 1, "n9"), sampleSet(9, 1)} // 7 twice; 9 was at home anyway
	for i := range 300 {
		sets = append(sets, sampleSet(100+i, 1, "n1", "n2"))
	}
	putSets(t, w, sets...)
	await(t, updates, "all sets", func(u Update) bool { return len(u.View.Locality["web"]) == 301 })

	tests := []struct {
		name string
		put  Locality
		want []topology.NodeName // of bucket 7 afterwards
	}{
		{"an older change", sampleSet(7, 1, "n1"), []topology.NodeName{"n2", "n3"}},
		{"a change at the same moment", sampleSet(7, 2, "n1"), []topology.NodeName{"n2", "n3"}},
		{"a newer change", sampleSet(7, 3, "n4"), []topology.NodeName{"n4"}},
		{"home, long ago", sampleSet(7, 2), []topology.NodeName{"n4"}},
		{"home now", sampleSet(7, 4), nil},
		{"home twice", sampleSet(7, 5), nil},
		{"away again", sampleSet(7, 6, "n5"), []topology.NodeName{"n5"}},
	}
	for _, tt := range tests {
		putSets(t, w, tt.put)
		view, err := w.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, view.Locality["web"][7].Nodes, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: nodes (-want +got):\n%s", tt.name, diff)
		}
	}
	await(t, updates, "the last change", func(u Update) bool {
		set := u.View.Locality["web"][7]
		return cmp.Equal(set.Nodes, []topology.NodeName{"n5"}) && len(u.View.Locality["web"]) == 301
	})
}

// testLocalityOldViews: a View shows what it showed, whatever comes later.
func testLocalityOldViews(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	putSets(t, w, sampleSet(1, 1, "n1"))
	old := await(t, updates, "a set", func(u Update) bool { return len(u.View.Locality["web"]) == 1 })
	putSets(t, w, sampleSet(1, 2, "n2"), sampleSet(2, 2, "n2"))
	await(t, updates, "two sets", func(u Update) bool { return len(u.View.Locality["web"]) == 2 })
	if sets := old.View.Locality["web"]; len(sets) != 1 || sets[1].Nodes[0] != "n1" {
		t.Errorf("the older View shows %v", sets)
	}
}

func testLocalityRefused(t *testing.T, w world) {
	nine := make([]topology.NodeName, topology.BucketNodes+1)
	foreign := sampleSet(1, 1, "n1")
	foreign.Service = "a/b"
	for _, tt := range []struct {
		set   Locality
		words string
	}{
		{sampleSet(topology.BucketCount, 1, "n1"), "4096"},
		{sampleSet(-1, 1, "n1"), "key"},
		{sampleSet(1, 1, nine...), "9 nodes: want 1 to 8"},
		{foreign, "slash"},
	} {
		err := w.PutLocalities(t.Context(), []Locality{sampleSet(2, 1, "n1"), tt.set})
		if err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("error %v, want %q in it", err, tt.words)
		}
	}
	// What a newer version wrote is not overwritten.
	newer := `{"schema":2,"service":"web","bucket":3,"nodes":["n7"],"changed":"2001-01-01T00:00:00Z"}`
	w.put(t, "locality/web/3", []byte(newer))
	putSets(t, w, sampleSet(3, 1, "n1"), sampleSet(4, 1, "n1"))
	view, err := w.View(t.Context())
	if err != nil || len(view.Problems) != 1 || !view.IsBroken(sampleSet(3, 0)) || len(view.Locality["web"]) != 1 {
		t.Errorf("error %v, problems %v, sets %v: want the newer record in place, and bucket 4", err, view.Problems, view.Locality["web"])
	}
}

// testLocalityRace: writers that meet at the same buckets lose nothing newer.
func testLocalityRace(t *testing.T, w world) {
	const writers, rounds, buckets = 4, 20, 8
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			for round := range rounds {
				var sets []Locality
				for bucket := range buckets {
					second := (round*7+bucket*3)%rounds*writers + writer // no two alike, out of order
					sets = append(sets, sampleSet(bucket, second, topology.NodeName(fmt.Sprint("n", writer))))
				}
				if err := w.PutLocalities(t.Context(), sets); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	view, err := w.View(t.Context())
	if err != nil || len(view.Locality["web"]) != buckets {
		t.Fatalf("%d buckets, error %v", len(view.Locality["web"]), err)
	}
	newest := noon.Add((rounds*writers - 1) * time.Second)
	for bucket, set := range view.Locality["web"] {
		if !set.Changed.Equal(newest) || set.Nodes[0] != topology.NodeName(fmt.Sprint("n", writers-1)) {
			t.Errorf("bucket %d: %v of %v, want the newest, of %v", bucket, set.Nodes, set.Changed, newest)
		}
	}
}

// testSeen: what was seen lives and ends with the agent's record.
func testSeen(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	records, ended := make(chan Agent), make(chan error, 1)
	go func() { ended <- w.KeepAgent(ctx, records) }()

	seen := func(service topology.ServiceName, requests uint64) LocalitySeen {
		return LocalitySeen{Service: service, Since: noon, Requests: requests, Buckets: []SeenBucket{{Bucket: 5, Requests: requests, Sample: "/a"}}}
	}
	records <- Agent{Name: "n1", Seen: []LocalitySeen{seen("web", 1), seen("api", 2)}}
	u := await(t, updates, "both services", func(u Update) bool { return len(u.View.Seen["n1"]) == 2 })
	want := seen("web", 1)
	want.Node = "n1"
	if diff := cmp.Diff(stamp(want), any(u.View.Seen["n1"]["web"])); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	records <- Agent{Name: "n1", Seen: []LocalitySeen{seen("web", 9)}}
	await(t, updates, "news of one, without the other", func(u Update) bool {
		return len(u.View.Seen["n1"]) == 1 && u.View.Seen["n1"]["web"].Requests == 9 && len(u.View.Agents) == 1
	})
	stop()
	if err := receive(t, ended, "end of KeepAgent"); err != nil {
		t.Error(err)
	}
	await(t, updates, "removal", func(u Update) bool { return len(u.View.Agents) == 0 && len(u.View.Seen) == 0 })
}

func testLocalityOutage(t *testing.T, w world) {
	w.interrupt(t)
	if err := w.PutLocalities(t.Context(), []Locality{sampleSet(1, 1, "n1")}); !errors.Is(err, ErrOutOfReach) {
		t.Errorf("error %v, want ErrOutOfReach", err)
	}
	w.restore(t)
	putSets(t, w, sampleSet(1, 1, "n1"))
}

// TestLeaseLostWithSeen: all records are written again under a new lease.
func TestLeaseLostWithSeen(t *testing.T) {
	running := startEmbedded(t, t.TempDir(), "http://127.0.0.1:0")
	e := dial(t, "test", running.Endpoint())
	k := agentKeeper{etcd: e}
	if err := k.set(Agent{Name: "n1", Seen: []LocalitySeen{{Service: "web"}}}); err != nil {
		t.Fatal(err)
	}
	k.keep(t.Context())
	lost := k.lease
	if _, err := e.client.Revoke(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	k.keep(t.Context()) // notices
	k.keep(t.Context())
	view, err := e.View(t.Context())
	if err != nil || len(view.Agents) != 1 || len(view.Seen["n1"]) != 1 || k.lease == lost {
		t.Errorf("agents %v, seen %v, error %v: want both again", view.Agents, view.Seen, err)
	}
}

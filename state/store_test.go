// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/onevip/onevip/topology"
)

// world is one store and what a test may do to it from outside.
type world struct {
	Store
	put func(t *testing.T, key string, value []byte) // raw; nil deletes
	// candidates counts those who lead or wait to.
	candidates func(t *testing.T) int
	interrupt  func(t *testing.T)
	restore    func(t *testing.T)
}

func memoryWorld(t *testing.T) world {
	m := NewMemory()
	return world{
		Store: m,
		put:   func(_ *testing.T, key string, value []byte) { m.Put(key, value) },
		candidates: func(*testing.T) int {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.leaders)
		},
		interrupt: func(*testing.T) { m.Interrupt() },
		restore:   func(*testing.T) { m.Restore() },
	}
}

// etcdWorld is a real member on loopback, stopped and started by the test.
func etcdWorld(t *testing.T) world {
	dir := t.TempDir()
	running := startEmbedded(t, dir, "http://127.0.0.1:0")
	endpoint := running.Endpoint()
	e := dial(t, "test", endpoint)
	return world{
		Store: e,
		put: func(t *testing.T, key string, value []byte) {
			t.Helper()
			var err error
			if value == nil {
				_, err = e.client.Delete(t.Context(), e.prefix+key)
			} else {
				_, err = e.client.Put(t.Context(), e.prefix+key, string(value))
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		candidates: func(t *testing.T) int {
			resp, err := e.client.Get(t.Context(), e.prefix+"leader/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				t.Fatal(err)
			}
			return int(resp.Count)
		},
		interrupt: func(t *testing.T) {
			if err := running.Close(); err != nil {
				t.Fatal(err)
			}
		},
		restore: func(t *testing.T) { running = startEmbedded(t, dir, endpoint) },
	}
}

// TestStore holds both stores to the same meaning.
func TestStore(t *testing.T) {
	worlds := map[string]func(*testing.T) world{"memory": memoryWorld, "etcd": etcdWorld}
	stories := map[string]func(*testing.T, world){
		"empty":           testEmpty,
		"leader writes":   testLeaderWrites,
		"all or nothing":  testAllOrNothing,
		"whole at once":   testWholeAtOnce,
		"many changes":    testManyChanges,
		"agent":           testAgent,
		"broken records":  testBrokenRecords,
		"connections":     testConns,
		"succession":      testSuccession,
		"candidate quits": testCandidateQuits,
		"outage":          testOutage,
		"watch ends":      testWatchEnds,
		"slow reader":     testSlowReader,

		"localities":           testLocalities,
		"localities, old view": testLocalityOldViews,
		"localities, refused":  testLocalityRefused,
		"localities, race":     testLocalityRace,
		"localities, outage":   testLocalityOutage,
		"seen":                 testSeen,
	}
	for where, open := range worlds {
		for what, story := range stories {
			t.Run(where+"/"+what, func(t *testing.T) { story(t, open(t)) })
		}
	}
}

func testEmpty(t *testing.T, w world) {
	want := View{Nodes: map[topology.NodeName]Node{}}
	got, err := w.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ignored := cmpopts.IgnoreFields(View{}, "Revision")
	if diff := cmp.Diff(want, got, ignored, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
	await(t, w.Watch(t.Context()), "first view", func(u Update) bool { return u.Err == nil })
}

func testLeaderWrites(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	l := lead(t, w, "c1")
	var changes []Change
	for _, record := range samples() {
		if _, agent := record.(Agent); !agent {
			changes = append(changes, Change{Record: record})
		}
	}
	revision, err := l.Apply(t.Context(), changes...)
	if err != nil {
		t.Fatal(err)
	}
	u := await(t, updates, "written view", func(u Update) bool { return u.View.Revision >= revision })
	want := newSnapshot().view(revision)
	for _, change := range changes {
		record := stamp(change.Record)
		want.add(record)
		if set, ok := record.(Locality); ok {
			want.Locality[set.Service] = map[int]Locality{set.Bucket: set}
		}
	}
	want.Leader, want.Term = "c1", l.Term()
	if diff := cmp.Diff(want, u.View, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}

	revision, err = l.Apply(t.Context(), Change{Record: Node{Name: "n1"}, Delete: true})
	if err != nil {
		t.Fatal(err)
	}
	u = await(t, updates, "deletion", func(u Update) bool { return u.View.Revision >= revision })
	if _, there := u.View.Nodes["n1"]; there {
		t.Error("n1 is still there")
	}
}

func testAllOrNothing(t *testing.T, w world) {
	l := lead(t, w, "c1")
	_, err := l.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}, Change{Record: Node{Name: "a/b", ID: 2}})
	if err == nil || !strings.Contains(err.Error(), "slash") {
		t.Errorf("error %v: want one about the slash", err)
	}
	if _, err := l.Apply(t.Context(), Change{Record: "what?"}); err == nil {
		t.Error("a string was taken for a record")
	}
	view, err := w.View(t.Context())
	if err != nil || len(view.Nodes) != 0 {
		t.Errorf("nodes %v, error %v: want nothing written", view.Nodes, err)
	}
}

// testWholeAtOnce: the cluster record and the slots lie on two sides of the
// connections; no View shows the one of a transaction without the other.
func testWholeAtOnce(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	l := lead(t, w, "c1")
	const rounds = 200
	failed := make(chan error, 1)
	go func() {
		for i := range rounds {
			_, err := l.Apply(t.Context(),
				Change{Record: Cluster{Name: fmt.Sprint(i + 1)}}, Change{Record: sampleSlots(uint64(i + 1))})
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	await(t, updates, "last round", func(u Update) bool {
		if len(failed) > 0 {
			t.Fatal(<-failed)
		}
		if (u.View.Cluster == nil) != (u.View.Slots == nil) {
			t.Fatalf("half a transaction: cluster %v, slots %v", u.View.Cluster, u.View.Slots != nil)
		}
		if u.View.Cluster == nil {
			return false
		}
		if u.View.Cluster.Name != fmt.Sprint(u.View.Slots.Epoch) {
			t.Fatalf("half a transaction: cluster %s, slots %d", u.View.Cluster.Name, u.View.Slots.Epoch)
		}
		return u.View.Slots.Epoch == rounds
	})
}

func testManyChanges(t *testing.T, w world) {
	l := lead(t, w, "c1")
	var changes []Change
	for id := topology.NodeID(1); id.Valid(); id++ {
		changes = append(changes, Change{Record: Node{Name: topology.NodeName("n" + id.String()), ID: id}})
	}
	if _, err := l.Apply(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	view, err := w.View(t.Context())
	if err != nil || len(view.Nodes) != int(topology.MaxNodeID) {
		t.Errorf("%d nodes, error %v: want %d", len(view.Nodes), err, topology.MaxNodeID)
	}
}

func testAgent(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	ctx, stop := context.WithCancel(t.Context())
	records, ended := make(chan Agent), make(chan error, 1)
	go func() { ended <- w.KeepAgent(ctx, records) }()

	records <- Agent{Name: "n1", Version: "1"}
	await(t, updates, "record", func(u Update) bool { return u.View.Agents["n1"].Version == "1" })
	records <- Agent{Name: "n1", Version: "2"}
	await(t, updates, "newer record", func(u Update) bool { return u.View.Agents["n1"].Version == "2" })
	stop()
	if err := receive(t, ended, "end of KeepAgent"); err != nil {
		t.Error(err)
	}
	await(t, updates, "removal", func(u Update) bool { return len(u.View.Agents) == 0 })

	nameless := make(chan Agent, 1)
	nameless <- Agent{}
	if err := w.KeepAgent(t.Context(), nameless); err == nil {
		t.Error("an agent without a name was taken")
	}
}

func testBrokenRecords(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	l := lead(t, w, "c1")
	if _, err := l.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 7}}); err != nil {
		t.Fatal(err)
	}
	await(t, updates, "good record", func(u Update) bool { return u.View.Nodes["n1"].ID == 7 })
	const node = `{"schema":1,"name":"n1","id":7}`
	for _, broken := range []struct{ key, value, words string }{
		{"nodes/n1", `{"schema":2}`, "newer"},
		{"nodes/n1", `{`, "not a record"},
		{"nodes/n1", `{"name":"n1","id":7}`, "schema 0"},
		{"nodes/n1", `{"schema":1,"name":"n1","id":255}`, "id 255"},
		{"nodes/n2", node, "the record is that of"},
		{"slots", `{"schema":1,"epoch":1}`, "want 1024"},
		{"slots", `{"schema":1,"epoch":1,"primary":[1,255]}`, "node id 255"},
		{"keys/cookie", `{"schema":1,"epoch":1}`, "0 bytes"},
		{"strange/thing", `{"schema":1}`, "not a key of this version"},
	} {
		w.put(t, broken.key, []byte(broken.value))
		u := await(t, updates, "problem of "+broken.value, func(u Update) bool { return len(u.View.Problems) == 1 })
		if p := u.View.Problems[0]; !strings.Contains(p, broken.words) || !strings.Contains(p, broken.key) {
			t.Errorf("problem %q: want %q and %q in it", p, broken.key, broken.words)
		}
		if known := broken.key != "strange/thing"; known != (len(u.View.Broken) == 1) {
			t.Errorf("%s: broken keys %v", broken.value, u.View.Broken)
		}
		if u.View.Nodes["n1"].ID != 7 {
			t.Errorf("%s: the last good record is gone", broken.value)
		}
		w.put(t, broken.key, nil)
		w.put(t, "nodes/n1", []byte(node))
		await(t, updates, "repair", func(u Update) bool { return len(u.View.Problems) == 0 && u.View.Nodes["n1"].ID == 7 })
	}
}

func testConns(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	before := await(t, updates, "first view", func(u Update) bool { return u.Err == nil }).View
	var conns []Conn
	for i := range 300 {
		conns = append(conns, sampleConn("n1", uint16(1000+i)), sampleConn("n2", uint16(1000+i)))
	}
	conns = append(conns, conns[0]) // twice in one batch
	if err := w.PutConns(t.Context(), conns); err != nil {
		t.Fatal(err)
	}
	count := func(node topology.NodeName, limit, want int) {
		t.Helper()
		got, err := w.Conns(t.Context(), node, limit)
		if err != nil || len(got) != want {
			t.Errorf("Conns(%q, %d): %d connections, error %v: want %d", node, limit, len(got), err, want)
		}
	}
	count("", 0, 600)
	count("n2", 0, 300)
	count("n", 0, 0)
	count("", 17, 17)
	if got, err := w.Conns(t.Context(), "n2", 1); err != nil || len(got) != 1 || got[0] != stamp(sampleConn("n2", 1000)) {
		t.Errorf("first connection %v, error %v", got, err)
	}
	// A guard forgets what a dead node left, not what the node has written since.
	left, err := w.Conns(t.Context(), "n1", 0)
	if err != nil {
		t.Fatal(err)
	}
	anew := sampleConn("n1", 1007)
	anew.Since = anew.Since.Add(time.Nanosecond)
	if err := errors.Join(w.PutConns(t.Context(), []Conn{anew}), w.DropConns(t.Context(), left)); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Conns(t.Context(), "n1", 0); err != nil || len(got) != 1 || got[0] != stamp(anew) {
		t.Errorf("left of n1: %v, error %v, want the one that was written since", got, err)
	}
	count("n2", 0, 300)
	if err := w.DeleteConns(t.Context(), conns); err != nil {
		t.Fatal(err)
	}
	count("", 0, 0)
	// Connections are nobody's news: the next View is that of the next write.
	w.put(t, "nodes/n9", []byte(`{"schema":1,"name":"n9","id":9}`))
	u := receive(t, updates, "view")
	if len(u.View.Nodes) != 1 || u.View.Revision <= before.Revision {
		t.Errorf("revision %d after %d, nodes %v: want the node's", u.View.Revision, before.Revision, u.View.Nodes)
	}
}

func testOutage(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	records := make(chan Agent, 1)
	records <- Agent{Name: "n1"}
	go func() { _ = w.KeepAgent(t.Context(), records) }()
	first := lead(t, w, "c1")
	if _, err := first.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}); err != nil {
		t.Fatal(err)
	}
	await(t, updates, "calm", func(u Update) bool { return len(u.View.Nodes) == 1 && len(u.View.Agents) == 1 })

	w.interrupt(t)
	u := await(t, updates, "outage", func(u Update) bool { return u.Err != nil })
	if !errors.Is(u.Err, ErrOutOfReach) || len(u.View.Nodes) != 1 || len(u.View.Agents) != 1 {
		t.Errorf("error %v, view %+v: want ErrOutOfReach and the last view", u.Err, u.View)
	}
	if _, err := first.Apply(t.Context(), Change{Record: Node{Name: "n2", ID: 2}}); !errors.Is(err, ErrOutOfReach) {
		t.Errorf("write in an outage: %v, want ErrOutOfReach", err)
	}
	receive(t, first.Done(), "end of the leadership")

	w.restore(t)
	await(t, updates, "recovery", func(u Update) bool { return u.Err == nil && len(u.View.Nodes) == 1 })
	second := lead(t, w, "c1")
	if second.Term() <= first.Term() {
		t.Errorf("term %d after %d: want it to grow", second.Term(), first.Term())
	}
	if _, err := second.Apply(t.Context(), Change{Record: Node{Name: "n2", ID: 2}}); err != nil {
		t.Fatal(err)
	}
	records <- Agent{Name: "n1", Version: "after"}
	await(t, updates, "writes after recovery", func(u Update) bool {
		return len(u.View.Nodes) == 2 && u.View.Agents["n1"].Version == "after"
	})
}

func testWatchEnds(t *testing.T, w world) {
	ctx, stop := context.WithCancel(t.Context())
	updates := w.Watch(ctx)
	stop()
	for range updates { // until it is closed
	}
}

func testSlowReader(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	l := lead(t, w, "c1")
	var revision int64
	for i := range 50 {
		var err error
		if revision, err = l.Apply(t.Context(), Change{Record: sampleSlots(uint64(i + 1))}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	await(t, updates, "newest view", func(u Update) bool {
		seen++
		return u.View.Revision == revision
	})
	if seen > 25 {
		t.Errorf("%d views were kept for a reader that did not read", seen)
	}
}

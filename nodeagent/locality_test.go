// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// localityRig steps the core of n1, of three nodes, with service web that has sets. It
// was booted 1000 s before the test begins.
type localityRig struct {
	*localityCore
	t    *testing.T
	now  clocks
	view state.View
}

func newLocalityRig(t *testing.T) *localityRig {
	v := testView()
	v.Nodes["n3"] = state.Node{Name: "n3", ID: 3, State: state.NodeUp}
	web := v.Services["web"]
	web.Policy = topology.Locality
	v.Services["web"] = web
	return &localityRig{newLocalityCore("n1"), t, clocks{start.UTC(), 1000 * time.Second}, v}
}

// stored makes the record of a bucket, changed some seconds after the beginning.
func stored(bucket int, after float64, writer topology.NodeName, nodes ...topology.NodeName) state.Locality {
	return state.Locality{Schema: state.Schema, Service: "web", Bucket: bucket, Nodes: nodes, Writer: writer,
		Changed: start.UTC().Add(time.Duration(after * float64(time.Second)))}
}

// here makes a bucket of the kernel, likewise.
func here(bucket uint16, after float64, nodes ...topology.NodeID) bpf.Bucket {
	return bpf.Bucket{Index: bucket, Nodes: nodes, Changed: 1000*time.Second + time.Duration(after*float64(time.Second))}
}

// later has other nodes in the place of those that a bucket has here: the least later that
// the kernel takes.
func later(b bpf.Bucket, nodes ...topology.NodeID) bpf.Bucket {
	b.Nodes = nodes
	b.Changed++
	return b
}

// holds makes these the records of the store.
func (r *localityRig) holds(records ...state.Locality) {
	r.view.Locality = map[topology.ServiceName]map[int]state.Locality{"web": {}}
	for _, l := range records {
		r.view.Locality["web"][l.Bucket] = l
	}
}

func (r *localityRig) pass(d time.Duration) {
	r.now.wall, r.now.monotonic = r.now.wall.Add(d), r.now.monotonic+d
}

// tick is what the loop does in a second, but for writing.
func (r *localityRig) tick(buckets ...bpf.Bucket) (writes []bpf.Bucket, puts []state.Locality) {
	r.pass(time.Second)
	r.follow(r.view)
	writes = r.look(r.now, "web", buckets)
	return writes, r.due(r.now.wall, localityRate)
}

func wantAll[T any](t *testing.T, what string, want, got []T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// What a node that starts finds, in its kernel and in the store, and what it makes of it.
func TestTheFirstLookAtSets(t *testing.T) {
	var nothing []bpf.Bucket
	for _, tt := range []struct {
		name   string
		here   bpf.Bucket
		stored []state.Locality
		writes []bpf.Bucket
		puts   []state.Locality
	}{
		{"nothing", bpf.Bucket{Index: 7, Requests: 5}, nil, nothing, nil},
		{"the store's, of others", bpf.Bucket{Index: 7, Requests: 5}, []state.Locality{stored(7, -2, "n2", "n2", "n3")},
			[]bpf.Bucket{here(7, -2, 2, 3)}, nil},
		{"the store's, from before this boot", bpf.Bucket{Index: 7, Requests: 5}, []state.Locality{stored(7, -3000, "n2", "n3")},
			[]bpf.Bucket{{Index: 7, Nodes: []topology.NodeID{3}, Changed: 1}}, nil},
		{"the store's, by a clock that is ahead", bpf.Bucket{Index: 7, Requests: 5}, []state.Locality{stored(7, 3000, "n2", "n3")},
			[]bpf.Bucket{here(7, 1, 3)}, nil},
		{"one that was not stored yet", here(7, -2, 3, 1), nil, nothing, []state.Locality{stored(7, -2, "n1", "n1", "n3")}},
		{"the same", here(7, -2, 3, 2), []state.Locality{stored(7, -2.5, "n2", "n2", "n3")}, nothing, nil},
		{"a newer one here", here(7, -2, 3), []state.Locality{stored(7, -3, "n2", "n2")}, nothing, []state.Locality{stored(7, -2, "n1", "n3")}},
		{"a newer one there", here(7, -3, 3), []state.Locality{stored(7, -2, "n2", "n2")}, []bpf.Bucket{here(7, -2, 2)}, nil},
		{"another one there, of the same moment", here(7, -2, 3), []state.Locality{stored(7, -2, "n0", "n2")}, []bpf.Bucket{later(here(7, -2), 2)}, nil},
		{"home again here", here(7, -2), []state.Locality{stored(7, -3, "n2", "n2")}, nothing, []state.Locality{stored(7, -2, "n1")}},
		{"home again, before", here(7, -3), []state.Locality{stored(7, -2, "n2", "n2")}, []bpf.Bucket{here(7, -2, 2)}, nil},
		{"a node that nobody knows, there", bpf.Bucket{Index: 7, Requests: 5}, []state.Locality{stored(7, -2, "n2", "n9", "n2")},
			[]bpf.Bucket{here(7, -2, 2)}, nil},
		{"a node that nobody knows, here", here(7, -2, 9, 1), nil, []bpf.Bucket{later(here(7, -2), 1)}, []state.Locality{stored(7, -2, "n1", "n1")}},
		{"too many there", bpf.Bucket{Index: 7, Requests: 5}, []state.Locality{stored(7, -2, "n2", "n2", "n2", "n2", "n2", "n2", "n2", "n2", "n2", "n1")},
			[]bpf.Bucket{here(7, -2, 1, 2)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newLocalityRig(t)
			r.holds(tt.stored...)
			writes, puts := r.tick(tt.here)
			wantAll(t, "into the kernel", tt.writes, writes)
			wantAll(t, "into the store", tt.puts, puts)
		})
	}
}

func TestASetThatTheKernelChanges(t *testing.T) {
	r := newLocalityRig(t)
	_, puts := r.tick(here(7, 0.5, 1, 2))
	r.wrote(r.now.wall, puts)
	_, again := r.tick(here(7, 0.5, 1, 2)) // the View is late
	wantAll(t, "twice into the store", nil, again)
	r.holds(puts...)
	wantAll(t, "once seen", nil, dropWrites(r.tick(here(7, 0.5, 1, 2))))
	_, puts = r.tick(here(7, 3.5, 1, 2, 3))
	wantAll(t, "another node", []state.Locality{stored(7, 3.5, "n1", "n1", "n2", "n3")}, puts)
	_, gone := r.tick(here(7, 4.5))
	wantAll(t, "home again", []state.Locality{stored(7, 4.5, "n1")}, gone)
	r.wrote(r.now.wall, gone)
	r.holds()
	wantAll(t, "in the end", nil, dropWrites(r.tick(here(7, 4.5))))
}

func dropWrites(_ []bpf.Bucket, puts []state.Locality) []state.Locality { return puts }

// The filter empties all buckets when it looks at other keys.
func TestSetsThatTheFilterForgets(t *testing.T) {
	r := newLocalityRig(t)
	r.holds(stored(7, -2, "n2", "n2"))
	r.tick()
	r.tick(here(7, -2, 2))
	writes, puts := r.tick()
	wantAll(t, "into the kernel", nil, writes)
	want := stored(7, 0, "n1")
	want.Changed = stored(7, -2, "n2").Changed.Add(time.Microsecond)
	wantAll(t, "out of the store", []state.Locality{want}, puts)
}

// The node's clock is behind that of another, which wrote the set last: what it makes of
// that set is newer all the same.
func TestAClockThatIsBehind(t *testing.T) {
	r := newLocalityRig(t)
	theirs := stored(7, 100, "n2", "n2")
	r.holds(theirs)
	writes, _ := r.tick()
	wantAll(t, "taken", []bpf.Bucket{{Index: 7, Nodes: []topology.NodeID{2}, Changed: r.now.monotonic}}, writes)
	_, puts := r.tick(here(7, 1.5, 2, 3))
	want := stored(7, 0, "n1", "n2", "n3")
	want.Changed = theirs.Changed.Add(time.Microsecond)
	wantAll(t, "changed since", []state.Locality{want}, puts)
}

func TestASetThatAnotherDeletes(t *testing.T) {
	r := newLocalityRig(t)
	r.holds(stored(7, -2, "n2", "n2"))
	r.tick()
	r.holds()
	writes, puts := r.tick(here(7, -2, 2))
	wantAll(t, "taken", []bpf.Bucket{later(here(7, -2))}, writes)
	wantAll(t, "not written again", nil, puts)

	r = newLocalityRig(t)
	_, puts = r.tick(here(8, 0.5, 3)) // one that this node writes, and never sees in the store
	r.wrote(r.now.wall, puts)
	r.pass(localityPatience - 2*time.Second)
	if writes, _ := r.tick(here(8, 0.5, 3)); len(writes) > 0 {
		t.Errorf("after a View that is late: wrote %v", writes)
	}
	writes, puts = r.tick(here(8, 0.5, 3))
	wantAll(t, "home again, after a while", []bpf.Bucket{later(here(8, 0.5))}, writes)
	wantAll(t, "not written again either", nil, puts)
}

// What another node says after all were at home counts, also if its clock is behind.
func TestASetAfterHome(t *testing.T) {
	r := newLocalityRig(t)
	r.tick(here(7, 0.5, 2))
	r.tick(here(7, 1.5))
	r.holds(stored(7, -3, "n2", "n3"))
	writes, puts := r.tick(here(7, 1.5))
	wantAll(t, "away again", []bpf.Bucket{later(here(7, 1.5), 3)}, writes)
	wantAll(t, "into the store", nil, puts)
}

func TestASetOfOursThatAnotherDeletes(t *testing.T) {
	r := newLocalityRig(t)
	_, puts := r.tick(here(7, 0.5, 2))
	r.wrote(r.now.wall, puts)
	r.holds(puts...)
	r.tick(here(7, 0.5, 2))
	r.holds()
	writes, puts := r.tick(here(7, 0.5, 2))
	wantAll(t, "home again, at once", []bpf.Bucket{later(here(7, 0.5))}, writes)
	wantAll(t, "not written again", nil, puts)
}

// A store that lost its data did not delete anything.
func TestAStoreThatWasLost(t *testing.T) {
	r := newLocalityRig(t)
	was := stored(7, -2, "n2", "n2")
	r.holds(was)
	r.tick()
	r.holds()
	r.view.Cluster.Created = start.Add(time.Hour)
	writes, puts := r.tick(here(7, -2, 2))
	wantAll(t, "into the kernel", nil, writes)
	wantAll(t, "written again", []state.Locality{was}, puts)
}

// A node keeps its place in records; in the kernel it has none while it has failed, nor
// under the id that it had.
func TestANodeOfASetFails(t *testing.T) {
	r := newLocalityRig(t)
	r.holds(stored(7, -2, "n2", "n2", "n3"))
	r.tick()
	n2 := r.view.Nodes["n2"]
	n2.State = state.NodeFailed
	r.view.Nodes["n2"] = n2
	writes, puts := r.tick(here(7, -2, 2, 3))
	wantAll(t, "without it", []bpf.Bucket{later(here(7, -2), 3)}, writes)
	wantAll(t, "the record", nil, puts)
	n2.State, n2.ID = state.NodeUp, 9
	r.view.Nodes["n2"] = n2
	writes, _ = r.tick(here(7, -2, 3))
	wantAll(t, "with it", []bpf.Bucket{later(here(7, -2), 3, 9)}, writes)
}

// What must wait is not lost, and who waits longest comes first.
func TestSetsAreWrittenNoFasterThanAllowed(t *testing.T) {
	r := newLocalityRig(t)
	var buckets []bpf.Bucket
	for i := range uint16(100) {
		buckets = append(buckets, here(i, 1-float64(i%10)/10, 1))
	}
	r.tick(buckets...)
	written := map[int]bool{}
	for last := (time.Time{}); len(written) < 100; {
		puts := r.due(r.now.wall, 30)
		if len(puts) == 0 || len(puts) > 30 {
			t.Fatalf("%d at once, want 1 to 30", len(puts))
		}
		for _, p := range puts {
			if p.Changed.Before(last) || written[p.Bucket] {
				t.Errorf("bucket %d is too late, or written twice", p.Bucket)
			}
			last, written[p.Bucket] = p.Changed, true
		}
		r.wrote(r.now.wall, puts)
	}
}

// A service that has another id, or had another policy meanwhile, begins anew: its kernel
// does too.
func TestServicesThatBeginAnew(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*state.Service)
	}{
		{"another id", func(s *state.Service) { s.ID = 4 }},
		{"another policy", func(s *state.Service) { s.Policy = topology.BoundedHash }},
	} {
		r := newLocalityRig(t)
		r.tick(here(7, 0.5, 1, 2))
		web := r.view.Services["web"]
		tt.edit(&web)
		r.view.Services["web"] = web
		r.follow(r.view)
		if book := r.books["web"]; book != nil && len(book.entries) > 0 {
			t.Errorf("%s: still knows %v", tt.name, book.entries)
		}
	}
}

// A write into the kernel that failed leaves it as it was, which is not a change.
func TestAfterAWriteThatFailed(t *testing.T) {
	r := newLocalityRig(t)
	r.holds(stored(7, -2, "n2", "n2"))
	r.tick(here(7, -3, 3))
	r.forget("web")
	writes, puts := r.tick(here(7, -3, 3))
	wantAll(t, "tried again", []bpf.Bucket{here(7, -2, 2)}, writes)
	wantAll(t, "into the store", nil, puts)
}

func TestClocks(t *testing.T) {
	c := clocks{start, 10 * time.Second}
	for _, tt := range []struct {
		name string
		wall time.Duration // after now
		want time.Duration
	}{
		{"now", 0, 10 * time.Second},
		{"before", -time.Second, 9 * time.Second},
		{"before this boot", -time.Minute, 1},
		{"at this boot", -10 * time.Second, 1},
		{"ahead", time.Minute, 10 * time.Second},
	} {
		if got := c.monotonicOf(start.Add(tt.wall)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := c.wallOf(9*time.Second + 999); !got.Equal(start.Add(-time.Second)) {
		t.Errorf("wall time is %v, want whole microseconds", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// localityWorld is some nodes that inspect, each with a clock of its own, and a store.
// Views come late, writes fail or are done without a word, agents and nodes start anew.
type localityWorld struct {
	now   time.Time
	store map[int]state.Locality
	past  []map[int]state.Locality // what the store had, oldest first
	nodes []*localityNode
	down  map[topology.NodeName]bool
}

type localityNode struct {
	core   *localityCore
	name   topology.NodeName
	skew   time.Duration
	booted time.Time
	kernel map[int]bpf.Bucket
	seen   int // index into past: Views do not go back
}

const (
	worldNodes   = 4
	worldBuckets = 3
)

// newLocalityWorld makes one whose clocks differ by that much, in milliseconds.
func newLocalityWorld(t *rapid.T, apart int) *localityWorld {
	w := &localityWorld{now: start.UTC(), store: map[int]state.Locality{}, down: map[topology.NodeName]bool{}}
	w.past = append(w.past, map[int]state.Locality{})
	for _, name := range []topology.NodeName{"n1", "n2", "n3", "n4"} {
		n := &localityNode{name: name, skew: time.Duration(rapid.IntRange(-apart, apart).Draw(t, "skew")) * time.Millisecond}
		n.boot(w.now)
		w.nodes = append(w.nodes, n)
	}
	return w
}

func (n *localityNode) boot(now time.Time) {
	n.core, n.booted, n.kernel = newLocalityCore(n.name), now.Add(-time.Second), map[int]bpf.Bucket{}
}

func (n *localityNode) clocks(now time.Time) clocks {
	return clocks{wall: now.Add(n.skew), monotonic: now.Sub(n.booted)}
}

// view is the store as a node sees it that is late.
func (w *localityWorld) view(index int) state.View {
	v := state.View{Cluster: &state.Cluster{}, Nodes: map[topology.NodeName]state.Node{},
		Services: map[topology.ServiceName]state.Service{"web": {Name: "web", Policy: topology.Locality}},
		Locality: map[topology.ServiceName]map[int]state.Locality{"web": w.past[index]}}
	for i, n := range w.nodes {
		is := state.NodeUp
		if w.down[n.name] {
			is = state.NodeFailed
		}
		v.Nodes[n.name] = state.Node{Name: n.name, ID: topology.NodeID(i + 1), State: is}
	}
	return v
}

// write is done by the store at once.
func (w *localityWorld) write(sets []state.Locality) {
	for _, s := range sets {
		have, there := w.store[s.Bucket]
		switch {
		case there && !s.Changed.After(have.Changed):
		case len(s.Nodes) == 0:
			delete(w.store, s.Bucket)
		default:
			w.store[s.Bucket] = s
		}
	}
	w.past = append(w.past, maps.Clone(w.store))
}

// outcome of a write.
const (
	written = iota
	writtenUnsaid
	notDone
)

// tick is a second of one node. meanwhile happens before it writes into its kernel.
func (w *localityWorld) tick(n *localityNode, late, ends int, meanwhile func()) (changed bool) {
	n.seen = max(n.seen, len(w.past)-1-late)
	t := n.clocks(w.now)
	n.core.follow(w.view(n.seen))
	writes := n.core.look(t, "web", slices.Collect(maps.Values(n.kernel)))
	if meanwhile != nil {
		meanwhile()
	}
	for _, b := range writes {
		n.kernel[int(b.Index)] = takeOver(n.kernel[int(b.Index)], b)
	}
	sets := n.core.due(t.wall, localityRate)
	if ends != notDone && len(sets) > 0 {
		w.write(sets)
	}
	if ends == written {
		n.core.wrote(t.wall, sets)
	}
	return len(writes)+len(sets) > 0
}

// change is what the filter of a node does: it names other nodes, or none.
func (w *localityWorld) change(t *rapid.T, n *localityNode) {
	bucket := rapid.IntRange(0, worldBuckets-1).Draw(t, "bucket")
	ids := rapid.SliceOfNDistinct(rapid.IntRange(1, worldNodes), 0, 3, rapid.ID[int]).Draw(t, "ids")
	b := bpf.Bucket{Index: uint16(bucket), Changed: w.now.Sub(n.booted)}
	for _, id := range ids {
		b.Nodes = append(b.Nodes, topology.NodeID(id))
	}
	n.kernel[bucket] = b
}

func (w *localityWorld) happen(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "milliseconds")) * time.Millisecond)
	n := rapid.SampledFrom(w.nodes).Draw(t, "node")
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1, 2:
		w.change(t, n)
	case 3:
		n.core = newLocalityCore(n.name) // its agent starts anew
	case 4:
		n.boot(w.now)
	case 5:
		w.down[n.name] = !w.down[n.name]
	default:
		var meanwhile func()
		if rapid.Bool().Draw(t, "changes meanwhile") {
			meanwhile = func() { w.change(t, n) }
		}
		w.tick(n, rapid.IntRange(0, 3).Draw(t, "late"), rapid.IntRange(written, notDone).Draw(t, "ends"), meanwhile)
	}
}

// settled lets time pass until nobody does anything any more.
func (w *localityWorld) settled() bool {
	quiet := 0
	for range 100 {
		w.now = w.now.Add(time.Second)
		busy := false
		for _, n := range w.nodes {
			busy = w.tick(n, 0, written, nil) || busy
		}
		if quiet++; busy {
			quiet = 0
		}
		if quiet > int(localityPatience/time.Second)+1 {
			return true
		}
	}
	return false
}

// sets gives what the filter of a node has, and what the store has, by names.
func (w *localityWorld) sets(n *localityNode) (kernel, store map[int][]topology.NodeName) {
	kernel, store = map[int][]topology.NodeName{}, map[int][]topology.NodeName{}
	names := namesOf(w.view(len(w.past) - 1))
	for i, b := range n.kernel {
		if alive := names.named(b.Nodes); len(alive) > 0 {
			kernel[i] = alive
		}
	}
	for i, r := range w.store {
		if alive := names.named(names.numbered(r.Nodes)); len(alive) > 0 {
			store[i] = alive
		}
	}
	return kernel, store
}

func TestAllNodesComeToTheSameSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newLocalityWorld(t, 5000)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.happen(t)
		}
		if !w.settled() {
			t.Fatal("they never come to rest")
		}
		for _, n := range w.nodes {
			kernel, store := w.sets(n)
			if diff := cmp.Diff(store, kernel); diff != "" {
				t.Errorf("%s (-store +kernel):\n%s", n.name, diff)
			}
		}
	})
}

// The newest change is what all have in the end, if all hear of it.
func TestTheNewestSetStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newLocalityWorld(t, 0)
		last := map[int]bpf.Bucket{}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			n := rapid.SampledFrom(w.nodes).Draw(t, "node")
			for _, each := range w.nodes { // it is heard of before the next one
				for range 2 {
					w.tick(each, 0, written, nil)
				}
			}
			w.now = w.now.Add(time.Second)
			w.change(t, n)
			for i, b := range n.kernel {
				if b.Changed == w.now.Sub(n.booted) {
					last[i] = b
				}
			}
			w.tick(n, 0, written, nil)
		}
		w.settled()
		for i, b := range last {
			for _, n := range w.nodes {
				if !slices.Equal(sorted(b.Nodes), sorted(n.kernel[i].Nodes)) {
					t.Errorf("%s has %v for bucket %d, want %v", n.name, n.kernel[i].Nodes, i, b.Nodes)
				}
			}
		}
	})
}

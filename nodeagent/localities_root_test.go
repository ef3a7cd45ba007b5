// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// kernelSets is what an agent does with sets, over a filter in the kernel.
type kernelSets struct {
	*localities
	t      *testing.T
	store  *state.Memory
	filter filter
}

func newKernelSets(t *testing.T) *kernelSets {
	t.Helper()
	needRoot(t)
	dir := pinDir(t)
	enterNamespace(t)
	addVeth(t, "eth0", "eth1")
	f, err := openFilter(Config{PinDir: dir, Interface: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	store := storeOf(t, testView(), withPolicy(topology.Locality))
	events := make(chan event, 16)
	about := state.Agent{Name: "n1"}
	l := newLocalities(Config{Store: store, Log: slog.Default()}, parts{core: &core{about: about}, monotonic: bpf.Now}, newMetrics(), events)
	l.filter = f
	k := &kernelSets{l, t, store, f}
	tables, problems, _ := wantTables(k.view(), "n1")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if err := f.SetServices(tables.services); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kernelSets) view() state.View {
	k.t.Helper()
	v, err := k.store.View(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

// turn is one pass, and what it leads to in the kernel and in the store, of bucket 7.
func (k *kernelSets) turn() (kernel bpf.Bucket, stored state.Locality) {
	k.t.Helper()
	if err := k.pass(k.t.Context(), k.view()); err != nil {
		k.t.Fatal(err)
	}
	buckets, err := k.filter.Buckets(0)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, b := range buckets {
		if b.Index == 7 {
			kernel = b
		}
	}
	return kernel, k.view().Locality["web"][7]
}

func (k *kernelSets) want(kernel bpf.Bucket, ids []topology.NodeID, stored state.Locality, names []topology.NodeName) {
	k.t.Helper()
	if diff := cmp.Diff(ids, sorted(kernel.Nodes), cmpopts.EquateEmpty()); diff != "" {
		k.t.Errorf("kernel (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names, stored.Nodes, cmpopts.EquateEmpty()); diff != "" {
		k.t.Errorf("store (-want +got):\n%s", diff)
	}
}

// choose plays the programs' part.
func (k *kernelSets) choose(ids ...topology.NodeID) {
	k.t.Helper()
	now, err := bpf.Now()
	if err == nil {
		err = k.filter.SetBuckets(0, []bpf.Bucket{{Index: 7, Nodes: ids, Changed: now}})
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// What the kernel takes and what it refuses is what localityCore takes it for.
func TestSetsGoThroughTheKernel(t *testing.T) {
	k := newKernelSets(t)
	theirs := state.Locality{Service: "web", Bucket: 7, Nodes: []topology.NodeName{"n2"}, Changed: time.Now().Add(-time.Minute), Writer: "n2"}
	if err := k.store.PutLocalities(t.Context(), []state.Locality{theirs}); err != nil {
		t.Fatal(err)
	}
	kernel, stored := k.turn()
	k.want(kernel, []topology.NodeID{2}, stored, theirs.Nodes)

	k.choose(2, 1)
	kernel, stored = k.turn()
	k.want(kernel, []topology.NodeID{1, 2}, stored, []topology.NodeName{"n1", "n2"})
	ours := stored
	k.turn()
	if _, again := k.turn(); !again.Changed.Equal(ours.Changed) {
		t.Errorf("written again although nothing changed: %+v, then %+v", ours, again)
	}

	theirs.Nodes, theirs.Changed = []topology.NodeName{"n1"}, ours.Changed.Add(time.Nanosecond)
	if err := k.store.PutLocalities(t.Context(), []state.Locality{theirs}); err != nil {
		t.Fatal(err)
	}
	kernel, stored = k.turn()
	k.want(kernel, []topology.NodeID{1}, stored, theirs.Nodes)

	k.choose()
	kernel, stored = k.turn()
	k.want(kernel, nil, stored, nil)
}

// The node of a set that fails is not in the kernel's any more, although nothing changed.
func TestFailedNodesLeaveTheKernelsSets(t *testing.T) {
	k := newKernelSets(t)
	both := []topology.NodeName{"n1", "n2"}
	k.choose(1, 2)
	kernel, stored := k.turn()
	k.want(kernel, []topology.NodeID{1, 2}, stored, both)
	v := k.view()
	n2 := v.Nodes["n2"]
	n2.State = state.NodeFailed
	v.Nodes["n2"] = n2
	if err := k.pass(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	n2.State, n2.ID = state.NodeUp, 9
	kernel, stored = k.turn() // by the View where it has not failed
	k.want(kernel, []topology.NodeID{1, 2}, stored, both)
	v.Nodes["n2"] = n2
	if err := k.pass(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	buckets, err := k.filter.Buckets(0)
	if err != nil || len(buckets) != 1 || !cmp.Equal(buckets[0].Nodes, []topology.NodeID{1, 9}) {
		t.Errorf("buckets %+v, error %v; want it under its new id", buckets, err)
	}
}

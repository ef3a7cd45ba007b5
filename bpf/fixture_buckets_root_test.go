// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

// locality is the web service with a policy that inspects, by that key.
func (r *rig) setLocality(t testing.TB, policy topology.Policy, key topology.LocalityKey) {
	t.Helper()
	err := r.f.SetServices([]Service{{
		ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: webPort, Policy: policy,
		Rules: Rules{Key: key, Low: 25, High: 65, Decay: 20 * time.Second, Silent: time.Second, Bound: 1.25},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) buckets(t testing.TB) []Bucket {
	t.Helper()
	all, err := r.f.Buckets(webService)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFixtureBucketsAreKept(t *testing.T) {
	r := newRig(t)
	r.setLocality(t, topology.Locality, "path")
	if got := r.buckets(t); got != nil {
		t.Fatalf("buckets %v before anything was asked for", got)
	}
	want := []Bucket{
		{Index: 0, Nodes: []topology.NodeID{3}, Changed: time.Second},
		{Index: 4095, Nodes: []topology.NodeID{1, 254}, Changed: time.Minute},
	}
	if err := r.f.SetBuckets(webService, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.buckets(t)); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
	r.setLocality(t, topology.BoundedHash, "path") // the same keys
	if diff := cmp.Diff(want, r.buckets(t)); diff != "" {
		t.Errorf("buckets after the policy changed (-want +got):\n%s", diff)
	}
	for _, other := range []topology.ServiceID{quietService, 7} {
		if all, err := r.f.Buckets(other); err != nil || all != nil {
			t.Errorf("service %d: buckets %v, %v", other, all, err)
		}
	}
}

// Under another kind of key, or for another service with the same id, sets mean nothing.
func TestFixtureBucketsAreForgotten(t *testing.T) {
	r := newRig(t)
	tests := map[string]func(){
		"another kind of key": func() { r.setLocality(t, topology.Locality, "host+path") },
		"another header":      func() { r.setLocality(t, topology.Locality, "header:x-b") },
		"another policy":      func() { r.setPolicy(t, topology.LeastConnection) },
		"no service": func() {
			if err := r.f.SetServices(nil); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, change := range tests {
		r.setLocality(t, topology.Locality, "header:x-a")
		err := r.f.SetBuckets(webService, []Bucket{{Index: 9, Nodes: []topology.NodeID{3}, Changed: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.buckets(t); len(got) != 1 {
			t.Fatalf("%s: buckets %v before it", name, got)
		}
		change()
		if got := r.buckets(t); got != nil {
			t.Errorf("%s: buckets %v are left", name, got)
		}
	}
}

func TestFixtureBucketsOutOfReach(t *testing.T) {
	r := newRig(t)
	if _, err := r.f.Buckets(8); err == nil {
		t.Error("buckets of a service that the maps have no room for")
	}
	for _, b := range []Bucket{{Index: 4096}, {Nodes: []topology.NodeID{0}}} {
		if err := r.f.SetBuckets(webService, []Bucket{b}); err == nil {
			t.Errorf("bucket %+v was taken", b)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestSetsAreDeletedLast: thousands of them take several transactions; what must
// be seen together comes before, and does not get divided by them.
func TestSetsAreDeletedLast(t *testing.T) {
	view := state.View{Locality: map[topology.ServiceName]map[int]state.Locality{"old": {}}}
	for bucket := range topology.BucketCount {
		view.Locality["old"][bucket] = state.Locality{Service: "old", Bucket: bucket, Nodes: []topology.NodeName{"n1"}}
	}
	d := Decide(Input{Config: clusterOf(t, []string{"nodes=n1,n2", "services=web:80"}), View: view, Now: noon})
	deleted := 0
	for i, change := range d.Changes {
		_, set := change.Record.(state.Locality)
		if set != change.Delete {
			t.Errorf("change %d: a set %v, deleted %v", i, set, change.Delete)
		}
		if set {
			deleted++
		} else if deleted > 0 {
			t.Errorf("change %d, a %T, comes after sets", i, change.Record)
		}
	}
	if deleted != topology.BucketCount {
		t.Errorf("%d sets deleted, want %d", deleted, topology.BucketCount)
	}
}

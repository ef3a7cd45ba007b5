// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

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

var serviceName = rapid.Custom(func(t *rapid.T) topology.ServiceName {
	return topology.ServiceName(fmt.Sprintf("s%d", rapid.IntRange(1, 4).Draw(t, "service")))
})

// set writes a bucket's nodes, of a service that there is or is not.
func (r *randomCluster) set(t *rapid.T) {
	set := state.Locality{Service: serviceName.Draw(t, "service"), Bucket: rapid.IntRange(0, 9).Draw(t, "bucket"), Changed: r.now, Nodes: []topology.NodeName{nodeName.Draw(t, "node")}}
	if err := r.store.PutLocalities(context.Background(), []state.Locality{set}); err != nil {
		t.Fatal(err)
	}
}

// checkSets: services whose policy is locality keep their sets as agents wrote them,
// no others have any.
func (r *randomCluster) checkSets(t *rapid.T, before, after state.View) {
	for name := range after.Locality {
		keeps := slices.ContainsFunc(r.config.Services, func(s topology.Service) bool { return s.Name == name && s.Policy == topology.Locality })
		if !keeps {
			t.Fatalf("service %s has sets", name)
		}
	}
	for _, s := range r.config.Services {
		if s.Policy == topology.Locality && !reflect.DeepEqual(before.Locality[s.Name], after.Locality[s.Name]) {
			t.Fatalf("sets of %s are %v, were %v", s.Name, after.Locality[s.Name], before.Locality[s.Name])
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestDecideAnything: whatever is configured, comes and goes, and whatever
// strangers write into the store, the leader keeps its promises.
func TestDecideAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRandomCluster(t)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			r.disturb(t)
			before := r.view(t)
			r.decide(t)
			r.check(t, before, r.view(t))
		}
	})
}

// randomCluster is a cluster that random things happen to.
type randomCluster struct {
	store  *state.Memory
	leader state.Leadership
	config topology.Cluster
	now    time.Time
	// left is when an id's last owner left.
	left   map[topology.NodeID]time.Time
	made   byte
	down   map[topology.NodeName]bool
	fenced map[uint64]bool // failures
	epoch  uint64          // of the newest failure
}

func newRandomCluster(t *rapid.T) *randomCluster {
	store := state.NewMemory()
	leader, err := store.Campaign(context.Background(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	r := &randomCluster{store: store, leader: leader, now: noon, left: map[topology.NodeID]time.Time{},
		down: map[topology.NodeName]bool{}, fenced: map[uint64]bool{}}
	r.config = topology.Default()
	r.config.Name = "lab"
	r.configure(t)
	return r
}

func (r *randomCluster) view(t *rapid.T) state.View {
	view, err := r.store.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return view
}

var nodeName = rapid.Custom(func(t *rapid.T) topology.NodeName {
	return topology.NodeName(fmt.Sprintf("n%d", rapid.IntRange(1, 9).Draw(t, "node")))
})

// disturb lets something happen.
func (r *randomCluster) disturb(t *rapid.T) {
	what := rapid.SampledFrom([]string{"agent", "agent", "agent", "suspects", "storm", "cleared", "fences", "link", "gone", "configure", "time", "moment", "stranger", "set"})
	switch what.Draw(t, "what") {
	case "agent":
		name := nodeName.Draw(t, "agent")
		agent := state.Agent{Schema: state.Schema, Name: name, MAC: macOf(string(name)), Incarnation: rapid.SampledFrom([]string{"b1", "b1", "b1", "b2"}).Draw(t, "boot")}
		r.put(t, "agents/"+string(name), agent)
	case "suspects":
		r.suspect(t)
	case "storm":
		r.storm(t)
	case "cleared":
		r.clear(t)
	case "fences":
		for epoch := range r.view(t).Failures {
			r.fenced[epoch] = true
		}
	case "link":
		name := nodeName.Draw(t, "link")
		r.down[name] = !r.down[name]
	case "moment":
		r.now = r.now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
	case "gone":
		r.store.Put("agents/"+string(nodeName.Draw(t, "gone")), nil)
	case "configure":
		r.configure(t)
	case "time":
		r.now = r.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "seconds")) * time.Second)
	case "stranger":
		// Two nodes under one id, as only a hand with etcdctl can do it.
		name := nodeName.Draw(t, "name")
		node := state.Node{Schema: state.Schema, Name: name, ID: topology.NodeID(rapid.IntRange(1, 9).Draw(t, "id"))}
		r.put(t, "nodes/"+string(name), node)
		clear(r.left)
	case "set":
		r.set(t)
	}
}

func (r *randomCluster) configure(t *rapid.T) {
	names := rapid.SliceOfNDistinct(nodeName, 1, 9, rapid.ID).Draw(t, "nodes")
	r.config.Nodes = nil
	for _, name := range names {
		r.config.Nodes = append(r.config.Nodes, topology.Node{Name: name, Switch: "s1", Port: string(name), Weight: 1})
	}
	r.config.Schedulers = rapid.SampledFrom([]topology.Schedulers{"1", "all"}).Draw(t, "schedulers")
	r.config.Services = nil
	for i, name := range rapid.SliceOfNDistinct(serviceName, 0, 3, rapid.ID).Draw(t, "services") {
		policy := rapid.SampledFrom([]topology.Policy{topology.LeastConnection, topology.Locality, topology.BoundedHash}).Draw(t, "policy")
		r.config.Services = append(r.config.Services, topology.Service{Name: name, VIPs: addrs("10.77.0.1"), Port: uint16(80 + i), Policy: policy})
	}
}

func (r *randomCluster) put(t *rapid.T, key string, record any) {
	value, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	r.store.Put(key, value)
}

// decide applies a decision; a second one must find nothing to do.
func (r *randomCluster) decide(t *rapid.T) {
	r.made++
	in := Input{Config: r.config, View: r.view(t), Now: r.now, Down: r.down, Fenced: r.fenced, Elected: true}
	in.Fresh.Cookie[0][0] = r.made
	d := Decide(in)
	if len(d.Changes) > 0 {
		if _, err := r.leader.Apply(context.Background(), d.Changes...); err != nil {
			t.Fatal(err)
		}
	}
	in.View = r.view(t)
	if again := Decide(in); len(again.Changes) > 0 {
		t.Fatalf("decided again without need: %v", again.Changes)
	}
}

func (r *randomCluster) check(t *rapid.T, before, after state.View) {
	r.checkMembers(t, before, after)
	r.checkFailures(t, before, after)
	r.checkSets(t, before, after)
	checkRing(t, after.Events)
	checkSlots(t, before.Slots, after)
	checkCookie(t, before.Cookie, after.Cookie, r.config.Cookie.Rotate)
}

// checkMembers: the members are those of the configuration; an id has one
// owner, stays with it, and rests when it left.
func (r *randomCluster) checkMembers(t *rapid.T, before, after state.View) {
	if len(after.Nodes) != len(r.config.Nodes) {
		t.Fatalf("%d members, want %d", len(after.Nodes), len(r.config.Nodes))
	}
	owner := map[topology.NodeID]topology.NodeName{}
	for name, node := range after.Nodes {
		if other, twice := owner[node.ID]; twice {
			t.Fatalf("id %d is that of %s and of %s", node.ID, name, other)
		}
		owner[node.ID] = name
	}
	if uniqueIDs(before) {
		for name, node := range before.Nodes {
			now, stays := after.Nodes[name]
			back := node.State == state.NodeFailed && now.State == state.NodeUp
			if stays && (now.ID != node.ID) != back {
				t.Fatalf("%s, %s, had id %d, has %d, %s", name, node.State, node.ID, now.ID, now.State)
			}
			if !stays || back {
				r.left[node.ID] = r.now
			}
		}
		for name, node := range after.Nodes {
			_, was := before.Nodes[name]
			since, rested := r.left[node.ID]
			_, returns := restingOf(before)[name]
			if !was && !returns && rested && r.now.Sub(since) < restPeriods*r.config.Cookie.Rotate {
				t.Fatalf("%s got id %d, which rests since %v", name, node.ID, r.now.Sub(since))
			}
		}
	}
}

func restingOf(view state.View) map[topology.NodeName]state.RestingNode {
	if view.IDs == nil {
		return nil
	}
	return view.IDs.Nodes
}

func uniqueIDs(view state.View) bool {
	seen := map[topology.NodeID]bool{}
	for _, node := range view.Nodes {
		if seen[node.ID] {
			return false
		}
		seen[node.ID] = true
	}
	return true
}

// checkSlots: the epoch grows with every change and with nothing else; the
// table names nodes that are up, if any is.
func checkSlots(t *rapid.T, before *state.Slots, after state.View) {
	up := map[topology.NodeID]bool{}
	for _, node := range after.Nodes {
		if node.State == state.NodeUp {
			up[node.ID] = true
		}
	}
	if after.Slots == nil {
		if len(up) > 0 {
			t.Fatal("nodes are up and there are no slots")
		}
		return
	}
	if before != nil {
		same := slices.Equal(before.Primary, after.Slots.Primary) && slices.Equal(before.Secondary, after.Slots.Secondary)
		if after.Slots.Epoch < before.Epoch || !same && after.Slots.Epoch == before.Epoch {
			t.Fatalf("epoch %d after %d, table the same: %v", after.Slots.Epoch, before.Epoch, same)
		}
	}
	for slot, primary := range after.Slots.Primary {
		if len(up) > 0 && !up[primary] {
			t.Fatalf("slot %d is node %d's, which is not up", slot, primary)
		}
	}
	for _, node := range after.Nodes {
		if node.State == state.NodeFailed && after.Slots != nil && slices.Contains(after.Slots.Nodes, node.ID) {
			t.Fatalf("%s failed, and has slots", node.Name)
		}
	}
	if len(up) > 0 && !slices.Equal(after.Slots.Nodes, slices.Sorted(maps.Keys(up))) {
		t.Fatalf("slots are made from %v, up are %v", after.Slots.Nodes, up)
	}
}

// checkCookie: each key is next, then current, then previous, for a period each.
func checkCookie(t *rapid.T, before, after *state.CookieKeys, period time.Duration) {
	if after == nil {
		t.Fatal("no cookie keys")
	}
	if before == nil || before.Epoch == after.Epoch {
		return
	}
	if after.Epoch != before.Epoch+1 || !bytes.Equal(after.Previous, before.Current) || !bytes.Equal(after.Current, before.Next) {
		t.Fatalf("epoch %d after %d, or keys out of order", after.Epoch, before.Epoch)
	}
	if after.Rotated.Sub(before.Rotated) < period {
		t.Fatalf("rotated after %v, a period is %v", after.Rotated.Sub(before.Rotated), period)
	}
}

// TestNoFreeID: 254 nodes at most, and the rest period counts.
func TestNoFreeID(t *testing.T) {
	config := topology.Default()
	for i := range 255 {
		config.Nodes = append(config.Nodes, topology.Node{Name: topology.NodeName(fmt.Sprintf("n%03d", i))})
	}
	d := Decide(Input{Config: config, Now: noon})
	nodes := 0
	for _, change := range d.Changes {
		if _, ok := change.Record.(state.Node); ok {
			nodes++
		}
	}
	if nodes != int(topology.MaxNodeID) || len(d.Warnings) != 1 || d.Warnings[0].Reason != NoFreeID || d.Warnings[0].Node != "n254" {
		t.Errorf("%d nodes, warnings %v: want 254 and one warning of n254", nodes, d.Warnings)
	}
}

// TestRotationAfterClockJump: a leader whose clock was ahead must not stop rotation.
func TestRotationAfterClockJump(t *testing.T) {
	config := topology.Default()
	key := make(state.Secret, state.CookieKeyLen)
	keys := state.CookieKeys{Schema: state.Schema, Epoch: 7, Previous: key, Current: key, Next: key}
	for rotated, want := range map[time.Duration]bool{
		-config.Cookie.Rotate:      true,
		-time.Second:               false,
		time.Second:                false,
		config.Cookie.Rotate + 1e9: true,
	} {
		keys.Rotated = noon.Add(rotated)
		d := Decide(Input{Config: config, View: state.View{Cookie: &keys}, Now: noon})
		got := slices.ContainsFunc(d.Changes, func(c state.Change) bool { _, is := c.Record.(state.CookieKeys); return is })
		if got != want {
			t.Errorf("rotated %v from now: rotates %v, want %v", rotated, got, want)
		}
	}
}

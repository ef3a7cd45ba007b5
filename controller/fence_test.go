// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// newestFailure is that of the node; without epoch if it never failed.
func newestFailure(t *testing.T, store state.Store, name topology.NodeName) (newest state.Failure) {
	t.Helper()
	for _, f := range viewOf(t, store).Failures {
		if f.Node == name && f.Epoch > newest.Epoch {
			newest = f
		}
	}
	return newest
}

func (sw *memorySwitch) unsettle(err error) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.unsettled = err
}

// fenced tells whether the switch drops what a node sends from a VIP, and floods
// nothing to it.
func (sw *memorySwitch) fenced(name string) bool {
	flows := sw.flows()
	flood, _, _ := strings.Cut(flows, "\n")
	return strings.Contains(flows, "ip,in_port="+name+",nw_src=10.77.0.1 actions=drop") && !strings.Contains(flood, "output:"+name)
}

func (sw *memorySwitch) floods(name string) bool {
	flood, _, _ := strings.Cut(sw.flows(), "\n")
	return strings.Contains(flood, "output:"+name)
}

// fencedLab is a cluster of three at work.
func fencedLab(t *testing.T) (*state.Memory, *memoryFabric, *controllerUnderTest, *memorySwitch, *memorySession) {
	t.Helper()
	config := labConfig(t)
	config.Nodes = nodesOf(t, "n1,n2,n3")
	store, f := state.NewMemory(), newMemoryFabric()
	c := start(t, store, f, "c1", config)
	sw := newMemorySwitch(f, ovs.DatapathIDOf("lab", "s1"), "up", "n1", "n2", "n3")
	session := sw.connect(t)
	for _, name := range []string{"n1", "n2", "n3"} {
		putNode(t, store, name)
		await(t, "flood to "+name, func() bool { return sw.floods(name) })
	}
	return store, f, c, sw, session
}

// TestFence: a link goes down; nobody may act for the node before the fence is in
// force; it comes back under another id.
func TestFence(t *testing.T) {
	store, _, c, sw, session := fencedLab(t)
	sw.unsettle(errors.New("the datapath lags behind"))
	session.setPort("n2", false)
	await(t, "the fence", func() bool { return sw.fenced("n2") })
	await(t, "words about the datapath", func() bool { return c.count("the datapath lags behind") > 0 })
	f := newestFailure(t, store, "n2")
	if f.Reason != state.FailureLinkDown || f.ID != 2 || f.Fenced != nil {
		t.Errorf("failure %+v: want link-down, and not said to be fenced", f)
	}
	if view := viewOf(t, store); slices.Contains(view.Slots.Nodes, 2) || view.Slots.Epoch != f.SlotEpoch {
		t.Errorf("slots %d of %v: want those of the failure, without the node", view.Slots.Epoch, view.Slots.Nodes)
	}
	sw.unsettle(nil)
	await(t, "the word that it is fenced", func() bool { return newestFailure(t, store, "n2").Fenced != nil })

	session.setPort("n2", true)
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: "n2", MAC: macOf("n2"), Cleared: f.Epoch})
	await(t, "the return", func() bool { return newestFailure(t, store, "n2").Left != nil })
	if id := viewOf(t, store).Nodes["n2"].ID; id != 4 {
		t.Errorf("back with id %d, want 4", id)
	}
	await(t, "the end of the fence", func() bool { return !sw.fenced("n2") && sw.floods("n2") })
	c.metric(t, `onevip_controller_failures_total{reason="link-down"} 1`)
	c.metric(t, `onevip_controller_fence_seconds_count 1`)
	c.metric(t, `onevip_controller_returns_total 1`)
	c.metric(t, `onevip_controller_nodes{state="failed"} 0`)
}

// TestFenceIsHeld: somebody else's flow is where a fence should be. It counts only
// when that is gone.
func TestFenceIsHeld(t *testing.T) {
	store, _, c, sw, session := fencedLab(t)
	hold := func(foreign bool) {
		sw.mu.Lock()
		defer sw.mu.Unlock()
		sw.foreign = foreign
	}
	hold(true)
	session.setPort("n2", false)
	await(t, "words about the flow", func() bool { return c.count("holds the place of a fence") > 0 })
	if f := newestFailure(t, store, "n2"); f.Epoch == 0 || f.Fenced != nil || sw.fenced("n2") {
		t.Errorf("failure %+v, fenced at the switch: %t: want it failed, and not said to be fenced", f, sw.fenced("n2"))
	}
	hold(false)
	await(t, "the word that it is fenced", func() bool { return newestFailure(t, store, "n2").Fenced != nil })
	if !sw.fenced("n2") {
		t.Error("it is not fenced at the switch")
	}
}

// TestAnotherWasMaster: what another has changed meanwhile is put right at once.
func TestAnotherWasMaster(t *testing.T) {
	store, _, _, sw, session := fencedLab(t)
	sw.unsettle(errors.New("the datapath lags behind"))
	session.setPort("n2", false)
	await(t, "the fence", func() bool { return sw.fenced("n2") })
	sw.mu.Lock()
	sw.master, sw.installed = nil, ovs.Pipeline{}
	sw.mu.Unlock()
	await(t, "the flows", func() bool { return sw.fenced("n2") && sw.floods("n1") })
	sw.unsettle(nil)
	await(t, "the word that it is fenced", func() bool { return newestFailure(t, store, "n2").Fenced != nil })
}

// TestLinkGoesDownWhileAFenceSettles: waiting for one fence delays no failure, and
// the other fence is waited for in its turn.
func TestLinkGoesDownWhileAFenceSettles(t *testing.T) {
	store, _, _, sw, session := fencedLab(t)
	slow := make(chan struct{})
	sw.mu.Lock()
	sw.slow = slow
	sw.mu.Unlock()
	session.setPort("n2", false)
	await(t, "the fence", func() bool { return sw.fenced("n2") })
	session.setPort("n3", false)
	await(t, "the other failure", func() bool { return newestFailure(t, store, "n3").Epoch != 0 })
	if f := newestFailure(t, store, "n2"); f.Fenced != nil {
		t.Errorf("failure %+v: want it not said to be fenced", f)
	}
	close(slow)
	await(t, "both fences", func() bool {
		return newestFailure(t, store, "n2").Fenced != nil && newestFailure(t, store, "n3").Fenced != nil && sw.fenced("n3")
	})
}

// TestPortVanishes: a port that was there and is gone has no carrier; one that
// was never there may come.
func TestPortVanishes(t *testing.T) {
	store, _, _, sw, session := fencedLab(t)
	sw.mu.Lock()
	sw.ports = slices.DeleteFunc(slices.Clone(sw.ports), func(p ovs.Port) bool { return p.Name == "n3" })
	sw.mu.Unlock()
	session.tell()
	await(t, "the failure", func() bool { return newestFailure(t, store, "n3").Reason == state.FailureLinkDown })
	if n := len(viewOf(t, store).Failures); n != 1 {
		t.Errorf("%d failures, want one", n)
	}
}

// TestSuspicionIsActedOn: it needs no more than the agents' words.
func TestSuspicionIsActedOn(t *testing.T) {
	store, _, _, sw, _ := fencedLab(t)
	for _, name := range []topology.NodeName{"n1", "n2"} {
		suspects := map[topology.NodeName]state.Suspicion{"n3": {Since: time.Now()}}
		putAgent(t, store, state.Agent{Schema: state.Schema, Name: name, MAC: macOf(string(name)), Suspects: suspects})
	}
	await(t, "the fence", func() bool { return newestFailure(t, store, "n3").Fenced != nil && sw.fenced("n3") })
	if f := newestFailure(t, store, "n3"); f.Reason != state.FailureSilence || !slices.Equal(f.Reporters, []topology.NodeName{"n1", "n2"}) {
		t.Errorf("failure %+v", f)
	}
}

// TestOutageOfAll: nobody is failed while nobody hears anybody, nor when the first
// two hear each other again; who is not heard for longer than them is.
func TestOutageOfAll(t *testing.T) {
	store, _, c, _, _ := fencedLab(t)
	since := time.Now().Add(-time.Minute)
	say := func(name topology.NodeName, list ...topology.NodeName) {
		suspects := map[topology.NodeName]state.Suspicion{}
		for _, other := range list {
			suspects[other] = state.Suspicion{Since: since}
		}
		putAgent(t, store, state.Agent{Schema: state.Schema, Name: name, MAC: macOf(string(name)), Suspects: suspects})
	}
	say("n1", "n2", "n3")
	say("n2", "n1", "n3")
	say("n3", "n1", "n2")
	await(t, "words about it", func() bool { return c.count("do not hear each other either") > 0 })
	say("n1", "n3")
	say("n2", "n3")
	await(t, "patience", func() bool { return c.count("nobody heard anybody a moment ago") > 0 })
	await(t, "the failure", func() bool { return newestFailure(t, store, "n3").Epoch != 0 })
	if n := len(viewOf(t, store).Failures); n != 1 {
		t.Errorf("%d failures, want one", n)
	}
}

// TestAnotherLeaderFences: the leader goes between a failure and its fence; the
// next one waits for the datapath itself before it says that the fence is in force.
func TestAnotherLeaderFences(t *testing.T) {
	store, f, first, sw, session := fencedLab(t)
	sw.unsettle(errors.New("the datapath lags behind"))
	session.setPort("n2", false)
	await(t, "the fence", func() bool { return sw.fenced("n2") })
	if err := first.end(t); err != nil {
		t.Error(err)
	}
	config := labConfig(t)
	config.Nodes = nodesOf(t, "n1,n2,n3")
	second := start(t, store, f, "c2", config)
	await(t, "the warning that nobody fences", func() bool { return second.count("switch s1 is not connected") == 1 })
	sw.connect(t)
	await(t, "words about the datapath", func() bool { return second.count("the datapath lags behind") > 0 })
	if f := newestFailure(t, store, "n2"); f.Fenced != nil {
		t.Errorf("failure %+v: want it not said to be fenced", f)
	}
	sw.unsettle(nil)
	await(t, "the word that it is fenced", func() bool { return newestFailure(t, store, "n2").Fenced != nil })
	var told []string
	for _, e := range viewOf(t, store).Events {
		if e.Kind == "leader_changed" || e.Kind == "node_failed" || e.Kind == "node_fenced" {
			told = append(told, e.Kind)
		}
	}
	if want := []string{"leader_changed", "node_failed", "leader_changed", "node_fenced"}; !slices.Equal(told, want) {
		t.Errorf("events %v, want %v", told, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestRealEtcd: agents, a leader and etcd that stops and starts again.
func TestRealEtcd(t *testing.T) {
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	embed := func(listen string) *state.Embedded {
		e, err := state.StartEmbedded(t.Context(), state.EmbeddedConfig{Cluster: "lab", Listen: listen, DataDir: dir, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}
	etcd := embed("http://127.0.0.1:0")
	store, err := state.Dial(t.Context(), state.DialConfig{Endpoints: []string{etcd.Endpoint()}, Cluster: "lab", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })

	f := newMemoryFabric()
	c := start(t, store, f, "c1", labConfig(t))
	sw := labSwitch(f)
	sw.connect(t)
	stopN1 := keepAgent(t, store, "n1")
	keepAgent(t, store, "n2")
	await(t, "flows", func() bool {
		return strings.Contains(sw.flows(), `output:n1`) && strings.Contains(sw.flows(), `output:n2`)
	})
	c.metric(t, `onevip_controller_nodes{state="up"} 2`)

	if err := etcd.Close(); err != nil {
		t.Fatal(err)
	}
	c.metric(t, `onevip_controller_etcd_reachable 0`)
	embed(etcd.Endpoint())
	c.metric(t, `onevip_controller_etcd_reachable 1`)
	stopN1()
	await(t, "the loss of n1", func() bool { return viewOf(t, store).Nodes["n1"].State == state.NodeLost })
	view := viewOf(t, store)
	if view.Nodes["n2"].State != state.NodeUp {
		t.Errorf("n2 is %s after the outage", view.Nodes["n2"].State)
	}
	if len(view.Slots.Nodes) != 1 || view.Slots.Nodes[0] != view.Nodes["n2"].ID {
		t.Errorf("slots are made from %v, want n2 alone", view.Slots.Nodes)
	}
	if !strings.Contains(sw.flows(), `output:n1`) {
		t.Error("a lost node was taken out of the flood")
	}
}

// keepAgent is an agent that says one thing.
func keepAgent(t *testing.T, store state.Store, name string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	records, ended := make(chan state.Agent, 1), make(chan struct{})
	records <- state.Agent{Name: topology.NodeName(name), MAC: macOf(name), Incarnation: "b1"}
	go func() {
		defer close(ended)
		if err := store.KeepAgent(ctx, records); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

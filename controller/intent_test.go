// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestIntent(t *testing.T) {
	config := topology.Cluster{
		MAC:         topology.MAC{2, 0xff},
		Speculation: topology.Speculation{Mirror: true},
		Services: []topology.Service{
			{Name: "web", VIPs: addrs("fd77::1", "10.77.0.1")}, {Name: "db", VIPs: addrs("10.77.0.1", "10.77.0.2")},
		},
	}
	view := state.View{Nodes: map[topology.NodeName]state.Node{
		"here":     {ID: 3, Name: "here", State: state.NodeUp, MAC: macOf("n3"), Switch: "s1", Port: "p3"},
		"far":      {ID: 1, Name: "far", State: state.NodeUp, MAC: macOf("n1"), Switch: "s2", Port: "p1"},
		"lost":     {ID: 2, Name: "lost", State: state.NodeLost, MAC: macOf("n2"), Switch: "s1", Port: "p2"},
		"expected": {ID: 4, Name: "expected", State: state.NodeExpected, MAC: macOf("n4"), Switch: "s1", Port: "p4"},
		"failed":   {ID: 6, Name: "failed", State: state.NodeFailed, MAC: macOf("n6"), Switch: "s1", Port: "p6"},
		"no mac":   {ID: 5, Name: "no mac", State: state.NodeUp, Switch: "s1", Port: "p5"},
	}}
	want := ovs.Intent{
		ClusterMAC: config.MAC,
		VIPs:       addrs("10.77.0.1", "10.77.0.2", "fd77::1"),
		Members: []ovs.Member{
			{ID: 1, Name: "far", MAC: macOf("n1")},
			{ID: 2, Name: "lost", MAC: macOf("n2"), Port: "p2"},
			{ID: 3, Name: "here", MAC: macOf("n3"), Port: "p3"},
		},
		Trunks: []string{"to-s2"},
		Mirror: true,
		Fenced: []ovs.Member{{ID: 6, Name: "failed", MAC: macOf("n6"), Port: "p6"}},
	}
	got, ready := intentFor(config, view, []string{"to-s2"}, "s1")
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || !ready {
		t.Errorf("ready %v, intent (-want +got):\n%s", ready, diff)
	}
	config.Speculation.Delay = topology.Never
	if got, _ := intentFor(config, view, nil, "s1"); got.Mirror {
		t.Error("mirrors what nobody wants")
	}
	if _, ready := intentFor(config, state.View{}, nil, "s1"); ready {
		t.Error("ready without a member")
	}
}

func TestTrunks(t *testing.T) {
	end := func(sw topology.SwitchName, port string) topology.Endpoint {
		return topology.Endpoint{Switch: sw, Port: port}
	}
	triangle := topology.Cluster{
		Switches: []topology.Switch{{Name: "b"}, {Name: "a"}, {Name: "c"}},
		Links: []topology.Link{
			{A: end("a", "ab"), B: end("b", "ba")}, {A: end("b", "bc"), B: end("c", "cb")}, {A: end("c", "ca"), B: end("a", "ac")},
		},
	}
	tests := []struct {
		name  string
		ports observed
		want  map[topology.SwitchName][]string
	}{
		{"nothing is known", nil, map[topology.SwitchName][]string{"a": {"ab", "ac"}, "b": {"ba"}, "c": {"ca"}}},
		{"all is well", observed{"a": {{Name: "ab", Up: true}, {Name: "ac", Up: true}}}, map[topology.SwitchName][]string{"a": {"ab", "ac"}, "b": {"ba"}, "c": {"ca"}}},
		{"one link is down", observed{"a": {{Name: "ab", Up: true}, {Name: "ac"}}}, map[topology.SwitchName][]string{"a": {"ab"}, "b": {"ba", "bc"}, "c": {"cb"}}},
		{"a port is gone", observed{"c": {{Name: "cb", Up: true}}}, map[topology.SwitchName][]string{"a": {"ab"}, "b": {"ba", "bc"}, "c": {"cb"}}},
		{"all links are down", observed{"a": {}, "b": {}, "c": {}}, map[topology.SwitchName][]string{"a": {"ab", "ac"}, "b": {"ba"}, "c": {"ca"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := trunksFor(triangle, tt.ports)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tree.Ports); diff != "" {
				t.Errorf("trunks (-want +got):\n%s", diff)
			}
		})
	}
	triangle.Links = triangle.Links[:1]
	var apart *topology.DisconnectedError
	if _, err := trunksFor(triangle, nil); !errors.As(err, &apart) {
		t.Errorf("error %v: want that c is apart", err)
	}
}

func TestPortsOf(t *testing.T) {
	config := topology.Cluster{
		Nodes: []topology.Node{{Name: "n1", Switch: "s1", Port: "p1"}, {Name: "n2", Switch: "s2", Port: "p2"}},
		Links: []topology.Link{{A: topology.Endpoint{Switch: "s2", Port: "x"}, B: topology.Endpoint{Switch: "s1", Port: "y"}}},
	}
	got := portsOf(config, topology.Switch{Name: "s1", Uplinks: []string{"up", "p1"}})
	if diff := cmp.Diff([]string{"p1", "up", "y"}, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// TestGeneration: a store that lost its data counts from 1 again; switches must
// still take its leader for the newer one.
func TestGeneration(t *testing.T) {
	old := generation(state.Cluster{Created: noon}, 4_000_000)
	if next := generation(state.Cluster{Created: noon}, 4_000_001); next <= old {
		t.Errorf("next term: %d after %d", next, old)
	}
	if anew := generation(state.Cluster{Created: noon.Add(time.Second)}, 2); anew <= old {
		t.Errorf("new store: %d after %d", anew, old)
	}
}

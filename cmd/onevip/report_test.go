// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// testView is a healthy cluster of two nodes; tests spoil one thing each.
func testView() state.View {
	primary, secondary := make([]topology.NodeID, topology.SlotCount), make([]topology.NodeID, topology.SlotCount)
	for slot := range primary {
		primary[slot], secondary[slot] = 1, 2
	}
	agent := func(name topology.NodeName, active uint32, adopted uint64) state.Agent {
		return state.Agent{Name: name, SlotEpoch: 7, Version: "1.2.3", Services: map[topology.ServiceName]state.AgentHealth{
			"web": {Healthy: true, Active: active, Adopted: adopted},
		}}
	}
	return state.View{
		Revision:  42,
		Leader:    "ctl",
		Cluster:   &state.Cluster{Name: "demo", Schedulers: topology.OneScheduler, MAC: topology.MAC{2, 0, 0, 0, 0, 1}},
		Slots:     &state.Slots{Epoch: 7, Primary: primary, Secondary: secondary},
		Cookie:    &state.CookieKeys{Epoch: 3, Current: state.Secret("sixteen bytes..."), Next: state.Secret("sixteen bytes too")},
		Heartbeat: &state.HeartbeatKey{Key: state.Secret("thirty-two bytes of heartbeat key")},
		Nodes: map[topology.NodeName]state.Node{
			"n1": {Name: "n1", ID: 1, State: state.NodeUp, Weight: 1, Switch: "sw", Port: "p1"},
			"n2": {Name: "n2", ID: 2, State: state.NodeUp, Weight: 3, Switch: "sw", Port: "p2"},
		},
		Agents: map[topology.NodeName]state.Agent{"n1": agent("n1", 2, 100), "n2": agent("n2", 5, 300)},
		Services: map[topology.ServiceName]state.Service{
			"web": {Name: "web", Port: 80, Policy: topology.LeastConnection,
				VIPs: []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")}},
		},
		Loads: map[topology.ServiceName]state.Load{"web": {Service: "web", Nodes: map[topology.NodeName]state.NodeLoad{
			"n1": {Weight: 1, Pickable: true}, "n2": {Weight: 3, Pickable: true},
		}}},
	}
}

func statusText(t *testing.T, view state.View) string {
	t.Helper()
	var out strings.Builder
	if err := reportStatus(view, "demo", []string{"http://127.0.0.1:2379"}).writeTable(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatusTable(t *testing.T) {
	want := `Cluster     demo (healthy)
Leader      ctl
Etcd        http://127.0.0.1:2379, revision 42
Epoch       slots 7, cookie key 3
Schedulers  1: n1

Service  VIP                        Scheduler         ActiveConn  Conns  Nodes
web      10.77.0.1:80 [fd77::1]:80  least-connection  7           400    2 of 2

Node  ID  State  Health  Weight  ActiveConn  Conns  Share  Slots
n1    1   up     ok      1       2           100    25.0%  1024
n2    2   up     ok      3       5           300    75.0%  0
`
	if diff := cmp.Diff(want, statusText(t, testView())); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(*state.View)
		want    string
		healthy bool
	}{
		{name: "empty store", spoil: func(v *state.View) { *v = state.View{} }, want: "is a controller running?"},
		{name: "no leader", spoil: func(v *state.View) { v.Leader = "" }, want: "no controller leads"},
		{name: "no slots", spoil: func(v *state.View) { v.Slots = nil }, want: "no node answers SYNs"},
		{name: "expected", spoil: node(func(n *state.Node) { n.State = state.NodeExpected }), want: "node n1: never seen"},
		{name: "lost", spoil: node(func(n *state.Node) { n.State = state.NodeLost }), want: "node n1: lost"},
		{name: "silent", spoil: func(v *state.View) { delete(v.Agents, "n1") }, want: "node n1: agent silent"},
		{name: "server ill", spoil: func(v *state.View) {
			v.Agents["n1"].Services["web"] = state.AgentHealth{Reason: "connection refused"}
		}, want: "node n1: web: connection refused"},
		{name: "nobody pickable", spoil: func(v *state.View) {
			for name := range v.Loads["web"].Nodes {
				v.Loads["web"].Nodes[name] = state.NodeLoad{Reason: "unhealthy"}
			}
		}, want: "service web: no node may be picked"},
		{name: "laggard", spoil: func(v *state.View) { v.Slots.Epoch = 8 }, want: "node n1: has slot epoch 7, 8 is in force"},
		{name: "draining is no illness", spoil: node(func(n *state.Node) { n.Draining = true }), want: "draining", healthy: true},
		{name: "advice", spoil: func(v *state.View) {
			agent := v.Agents["n1"]
			agent.Warnings = []string{"LRO is on"}
			v.Agents["n1"] = agent
		}, want: "node n1: LRO is on", healthy: true},
		{name: "unreadable record", spoil: func(v *state.View) { v.Problems = []string{"nodes/n9: schema 2"} }, want: "nodes/n9: schema 2", healthy: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			view := testView()
			tt.spoil(&view)
			if text := statusText(t, view); !strings.Contains(text, tt.want) {
				t.Errorf("status does not say %q:\n%s", tt.want, text)
			}
			if got := reportStatus(view, "demo", nil); got.well() != tt.healthy {
				t.Errorf("well = %v, want %v; warnings %q", got.well(), tt.healthy, got.Warnings)
			}
		})
	}
}

// node changes n1's record.
func node(change func(*state.Node)) func(*state.View) {
	return func(v *state.View) {
		n := v.Nodes["n1"]
		change(&n)
		v.Nodes["n1"] = n
	}
}

func TestServicesTable(t *testing.T) {
	view := testView()
	view.Loads["web"].Nodes["n2"] = state.NodeLoad{Reason: "full"}
	var out strings.Builder
	if err := (servicesReport{reportServices(view)}).writeTable(&out); err != nil {
		t.Fatal(err)
	}
	want := `Prot LocalAddress:Port  Scheduler         Service
  -> Node               Weight            ActiveConn  Conns  Share  Status
TCP  10.77.0.1:80       least-connection  web
TCP  [fd77::1]:80       least-connection  web
  -> n1                 1                 2           100    25.0%  ok
  -> n2                 3                 5           300    75.0%  full
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestNoReportHasSecrets(t *testing.T) {
	view := testView()
	reports := []report{reportStatus(view, "demo", nil), nodesReport{reportNodes(view)}, servicesReport{reportServices(view)}}
	for _, format := range []string{outputTable, outputJSON, outputYAML} {
		for _, r := range reports {
			var out bytes.Buffer
			if err := (&outputFlag{format: format}).write(&out, r); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []state.Secret{view.Cookie.Current, view.Cookie.Next, view.Heartbeat.Key} {
				stored, err := secret.MarshalText()
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(out.Bytes(), secret) || bytes.Contains(out.Bytes(), stored) {
					t.Errorf("%T as %s shows a key", r, format)
				}
			}
		}
	}
}

func TestReportConns(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	conn := func(client string, service topology.ServiceName, age time.Duration) state.Conn {
		return state.Conn{Node: "n1", Service: service, Client: netip.MustParseAddrPort(client), Since: start.Add(-age)}
	}
	conns := []state.Conn{
		conn("10.77.1.1:1000", "web", time.Second),
		conn("10.77.1.2:1000", "web", time.Minute),
		conn("[fd77::2]:2000", "ssh", time.Hour),
	}
	tests := []struct {
		name, client string
		service      topology.ServiceName
		limit        int
		want         []string
		more         bool
	}{
		{name: "all, the oldest first", want: []string{"[fd77::2]:2000", "10.77.1.2:1000", "10.77.1.1:1000"}},
		{name: "limit", limit: 1, want: []string{"[fd77::2]:2000"}, more: true},
		{name: "limit just reached", limit: 3, want: []string{"[fd77::2]:2000", "10.77.1.2:1000", "10.77.1.1:1000"}},
		{name: "service", service: "web", want: []string{"10.77.1.2:1000", "10.77.1.1:1000"}},
		{name: "address", client: "10.77.1.2", want: []string{"10.77.1.2:1000"}},
		{name: "prefix", client: "10.77.1.0/24", want: []string{"10.77.1.2:1000", "10.77.1.1:1000"}},
		{name: "address and port", client: "[fd77::2]:2000", want: []string{"[fd77::2]:2000"}},
		{name: "other port", client: "[fd77::2]:2001", want: nil},
		{name: "limit counts what the filter left", service: "web", limit: 2, want: []string{"10.77.1.2:1000", "10.77.1.1:1000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := parseClientFilter(tt.client)
			if err != nil {
				t.Fatal(err)
			}
			report := reportConns(conns, connFilter{tt.service, client}, tt.limit, start)
			var got []string
			for _, c := range report.Conns {
				got = append(got, c.Client.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("clients (-want +got):\n%s", diff)
			}
			if report.More != tt.more {
				t.Errorf("more = %v, want %v", report.More, tt.more)
			}
		})
	}
}

// Programs read the JSON: these names do not change.
func TestStatusJSONNames(t *testing.T) {
	text, err := json.Marshal(reportStatus(testView(), "demo", []string{"http://127.0.0.1:2379"}))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Cluster  string
		Healthy  bool
		Leader   string
		Services []struct {
			Name  string
			Nodes []struct {
				Node    string
				Adopted int
			}
		}
		Nodes []struct {
			Name  string
			ID    int
			Share float64
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Cluster != "demo" || !got.Healthy || got.Leader != "ctl" || got.Services[0].Nodes[1].Adopted != 300 || got.Nodes[1].Share != 0.75 {
		t.Errorf("status as JSON: %s", text)
	}
}

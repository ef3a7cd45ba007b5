// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

var (
	vip4 = netip.MustParseAddr("10.77.0.1")
	vip6 = netip.MustParseAddr("fd77::1")
	mac1 = topology.MAC{2, 0, 0, 0, 0, 1}
	mac2 = topology.MAC{2, 0, 0, 0, 0, 2}
)

// testView has nodes n1 (id 1) and n2 (id 2) and service web (id 0).
func testView() state.View {
	secret := func(b byte) state.Secret { return bytes.Repeat([]byte{b}, 16) }
	return state.View{
		Cluster: &state.Cluster{Schema: state.Schema, Name: "test", WindowScale: 7,
			HeartbeatInterval: state.Duration(100 * time.Millisecond), HeartbeatMisses: 3,
			SpeculationDelay: topology.Delay(20 * time.Millisecond), CookieRotate: state.Duration(time.Minute),
			ConnsMinAge: state.Duration(5 * time.Second), ConnsMaxRate: 100},
		Slots: &state.Slots{Schema: state.Schema, Epoch: 4,
			Primary:   slices.Repeat([]topology.NodeID{1, 2}, topology.SlotCount/2),
			Secondary: slices.Repeat([]topology.NodeID{2, 1}, topology.SlotCount/2)},
		Cookie:    &state.CookieKeys{Schema: state.Schema, Epoch: 9, Previous: secret(8), Current: secret(9), Next: secret(10)},
		Heartbeat: &state.HeartbeatKey{Schema: state.Schema, Key: testKey},
		Nodes: map[topology.NodeName]state.Node{
			"n1": {Schema: state.Schema, Name: "n1", ID: 1, State: state.NodeUp, Weight: 1, MAC: mac1},
			"n2": {Schema: state.Schema, Name: "n2", ID: 2, State: state.NodeUp, Weight: 1},
		},
		Agents: map[topology.NodeName]state.Agent{"n2": {Schema: state.Schema, Name: "n2", MAC: mac2, Incarnation: "00000000000000c8"}},
		Services: map[topology.ServiceName]state.Service{
			"web": {Schema: state.Schema, Name: "web", ID: 0, VIPs: []netip.Addr{vip4, vip6}, Port: 80,
				Policy: topology.LeastConnection, Replay: topology.ReplaySafe, Health: state.Health{Type: topology.HealthNone}},
		},
	}
}

func TestWantTables(t *testing.T) {
	got, problems, ready := wantTables(testView(), "n1")
	if !ready || len(problems) > 0 {
		t.Fatalf("ready is %t, problems are %v", ready, problems)
	}
	slots := slices.Repeat([]bpf.Slot{{Primary: 1, Secondary: 2}, {Primary: 2, Secondary: 1}}, topology.SlotCount/2)
	key := func(b byte) (k [16]byte) { copy(k[:], bytes.Repeat([]byte{b}, 16)); return k }
	want := tables{
		self:     bpf.Self{ID: 1, WindowScale: 7},
		services: []bpf.Service{{ID: 0, VIPs: []netip.Addr{vip4, vip6}, Port: 80, Policy: topology.LeastConnection, Replay: true}},
		slots:    slots,
		epoch:    4,
		cookies:  &bpf.CookieKeys{Epoch: 9, Previous: key(8), Current: key(9), Next: key(10), Lifetime: 2 * time.Minute},
		members:  map[topology.NodeID]topology.MAC{1: mac1, 2: mac2},

		speculation: bpf.Speculation{Delay: 20 * time.Millisecond},
	}
	opts := cmp.Options{cmp.AllowUnexported(tables{}), cmpopts.EquateComparable(netip.Addr{})}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]netip.Addr{vip4, vip6}, got.vips(), opts); diff != "" {
		t.Errorf("VIPs (-want +got):\n%s", diff)
	}
}

func TestNothingIsWantedWithoutAnID(t *testing.T) {
	tests := []struct {
		name string
		edit func(*state.View)
	}{
		{"no cluster record", func(v *state.View) { v.Cluster = nil }},
		{"not a member", func(v *state.View) { delete(v.Nodes, "n1") }},
		{"no id", func(v *state.View) { v.Nodes["n1"] = state.Node{Name: "n1"} }},
		{"reserved id", func(v *state.View) { v.Nodes["n1"] = state.Node{Name: "n1", ID: 255} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := testView()
			tt.edit(&v)
			if _, _, ready := wantTables(v, "n1"); ready {
				t.Error("ready")
			}
		})
	}
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	tests := []struct {
		name string
		edit func(*state.View)
		want string
	}{
		{"a short slot table", func(v *state.View) { v.Slots = &state.Slots{Epoch: 5, Primary: v.Slots.Primary[:9]} },
			"slot table of epoch 5 has 9 primaries and 0 secondaries"},
		{"a short key", func(v *state.View) {
			v.Cookie = &state.CookieKeys{Epoch: 3, Previous: make([]byte, 16), Current: make([]byte, 15)}
		},
			"current cookie key of epoch 3 has 15 bytes, want 16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := testView()
			tt.edit(&v)
			got, problems, ready := wantTables(v, "n1")
			if !ready || len(problems) != 1 || !strings.Contains(problems[0], tt.want) {
				t.Fatalf("ready is %t, problems are %q, want one with %q", ready, problems, tt.want)
			}
			if got.slots != nil && got.cookies != nil {
				t.Error("the record is used all the same")
			}
		})
	}
}

func TestRosterTakesTheAgentsWord(t *testing.T) {
	v := testView()
	n2 := v.Nodes["n2"]
	n2.Incarnation = "0000000000000001"
	v.Nodes["n2"] = n2
	v.Nodes["n3"] = state.Node{Name: "n3", ID: 3, Incarnation: "0000000000000007"}
	want := roster{members: map[topology.NodeID]uint64{1: 0, 2: 200, 3: 7}, services: map[topology.ServiceID]bool{0: true}}
	if diff := cmp.Diff(want, wantRoster(v), cmp.AllowUnexported(roster{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIncarnations(t *testing.T) {
	a := boot{ID: "x", Namespace: 1}.incarnation()
	for _, other := range []boot{{ID: "y", Namespace: 1}, {ID: "x", Namespace: 2}} {
		if other.incarnation() == a {
			t.Errorf("boot %+v has the incarnation of another", other)
		}
	}
	if got := parseIncarnation(formatIncarnation(a)); got != a {
		t.Errorf("incarnation %x comes back as %x", a, got)
	}
	if got := parseIncarnation("no number"); got != 0 {
		t.Errorf("nonsense parses as %d, want 0", got)
	}
	b, err := currentBoot()
	if err != nil || b.ID == "" || b.Namespace == 0 {
		t.Errorf("current boot is %+v, %v", b, err)
	}
}

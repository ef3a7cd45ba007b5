// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

var update = flag.Bool("update", false, "write the golden files again")

// lab is the intent and the ports of most tests: two members, one client.
func lab() (Intent, []Port) {
	return Intent{
			ClusterMAC: topology.MAC{0x02, 0x0e, 0x77, 0, 0, 1},
			VIPs:       []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("fd77::1")},
			Members: []Member{
				{ID: 1, Name: "n1", Port: "n1", MAC: topology.MAC{2, 0, 0, 0, 0, 1}},
				{ID: 2, Name: "n2", Port: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}},
			},
		}, []Port{
			{Number: 1, Name: "client"}, {Number: 2, Name: "n1"}, {Number: 3, Name: "n2"},
			{Number: 4, Name: "trunk"}, {Number: PortLocal, Name: "br0"},
		}
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestBuildGolden(t *testing.T) {
	intent, ports := lab()
	golden(t, "one-switch.txt", Build(intent, ports).Text(ports))

	intent.Trunks = []string{"trunk"}
	intent.Members = append(intent.Members, Member{ID: 3, Name: "n3", MAC: topology.MAC{2, 0, 0, 0, 0, 3}})
	golden(t, "with-trunk.txt", Build(intent, ports).Text(ports))

	intent.Mirror = true
	golden(t, "mirror.txt", changed(t, intent, func(i *Intent) { i.Mirror = false }))

	intent.Fenced = append(intent.Fenced, intent.Members[1:]...) // one here, one elsewhere
	golden(t, "fence.txt", changed(t, intent, func(i *Intent) { i.Fenced = nil }))
}

// changed lists what leads from another intent to this one.
func changed(t *testing.T, intent Intent, undo func(*Intent)) string {
	t.Helper()
	_, ports := lab()
	before := intent
	undo(&before)
	var b strings.Builder
	for _, c := range Diff(Build(before, ports), Build(intent, ports)) {
		b.WriteString(c.text(newNames(ports)) + "\n")
	}
	return b.String()
}

// TestBuildMembers says which members are flooded to.
func TestBuildMembers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Member)
		want   bool
	}{
		{"as configured", func(*Member) {}, true},
		{"MAC not known yet", func(m *Member) { m.MAC = topology.MAC{} }, false},
		{"port not on the bridge", func(m *Member) { m.Port = "gone" }, false},
		{"no port here", func(m *Member) { m.Port = "" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			intent, ports := lab()
			tt.change(&intent.Members[1])
			p := Build(intent, ports)
			for _, g := range p.Groups {
				flooded := strings.Contains(g.text(newNames(ports)), "output:n2")
				if flooded != tt.want {
					t.Errorf("group %d floods to n2: %v, want %v", g.ID, flooded, tt.want)
				}
			}
		})
	}
}

// TestBuildIgnoresOrder: the same members and VIPs in another order give the
// same pipeline, or a restart would write flows again.
func TestBuildIgnoresOrder(t *testing.T) {
	intent, ports := lab()
	want := Build(intent, ports).String()
	slices.Reverse(intent.Members)
	slices.Reverse(intent.VIPs)
	slices.Reverse(ports)
	intent.VIPs = append(intent.VIPs, intent.VIPs[0])
	if diff := cmp.Diff(want, Build(intent, ports).String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBuildPlaces: no two flows have one place, even if members share a MAC.
func TestBuildPlaces(t *testing.T) {
	intent, ports := lab()
	intent.Members[1].MAC = intent.Members[0].MAC
	intent.Trunks = []string{"trunk", "trunk"}
	seen := make(map[place]Flow)
	for _, f := range Build(intent, ports).Flows {
		if other, taken := seen[f.place()]; taken {
			t.Errorf("one place for\n%v\n%v", other, f)
		}
		seen[f.place()] = f
	}
}

// TestBuildFenced: a fenced node is no member, however it is named among them,
// and gets frames between nodes, once.
func TestBuildFenced(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fenced []Member
		kept   int // drop flows of Classify
	}{
		{"as it was a member", []Member{{ID: 2, Name: "n2", Port: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}}}, 4},
		{"under its old id", []Member{{ID: 9, Name: "n2", Port: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}}}, 4},
		{"under two ids", []Member{
			{ID: 8, Name: "n2", Port: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}},
			{ID: 9, Name: "n2", Port: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}},
		}, 4},
		{"elsewhere", []Member{{ID: 2, Name: "n2", MAC: topology.MAC{2, 0, 0, 0, 0, 2}}}, 0},
		{"without a MAC", []Member{{ID: 2, Name: "n2", Port: "n2"}}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			intent, ports := lab()
			intent.Mirror, intent.Fenced = true, tt.fenced
			p := Build(intent, ports)
			if flood := p.Groups[0].text(newNames(ports)); strings.Contains(flood, "output:n2") || !strings.Contains(flood, "output:n1") {
				t.Errorf("flood: %s", flood)
			}
			if n := strings.Count(p.Groups[1].text(newNames(ports)), "output:n2"); n > 1 {
				t.Errorf("%d copies of node frames for n2", n)
			}
			drops := slices.DeleteFunc(p.Flows, func(f Flow) bool { return f.Table != Classify || f.Cookie.Kind() != KindFenced })
			if len(drops) != tt.kept {
				t.Errorf("%d flows drop at the port, want %d: %v", len(drops), tt.kept, drops)
			}
		})
	}
}

// TestFloodLooksAtNoPorts: no flow looks at ports, and of what else layer 4 has
// at nothing that a client's TCP segment to a VIP can meet.
func TestFloodLooksAtNoPorts(t *testing.T) {
	intent, ports := lab()
	intent.Mirror, intent.Trunks, intent.Fenced = true, []string{"trunk"}, intent.Members[1:]
	for _, f := range Build(intent, ports).Flows {
		_, icmp := f.Match.field(FieldICMPv6Type)
		_, arp := f.Match.field(FieldARPOp)
		_, inside := f.Match.field(FieldReg0)
		for _, field := range f.Match {
			ports := field.ID == FieldTCPSrc || field.ID == FieldTCPDst || field.ID == FieldTTL
			layer4 := field.ID == FieldIPProto || field.ID == FieldTCPFlags
			if ports || layer4 && !icmp && !arp && !inside {
				t.Errorf("%v matches %v", f, field.matchText(names{}))
			}
		}
	}
}

func TestCookie(t *testing.T) {
	vip := netip.MustParseAddr("10.77.0.1")
	c := newCookie(KindForward, vip, 7).withRound(0xabcd)
	if !c.Ours() || c.Kind() != KindForward || c.Node() != 7 || c.Round() != 0xabcd {
		t.Errorf("cookie %v: ours %v, kind %v, node %v, round %#x", c, c.Ours(), c.Kind(), c.Node(), c.Round())
	}
	if c.object() != newCookie(KindForward, vip, 7) {
		t.Errorf("cookie %v without its round is %v", c, c.object())
	}
	if Cookie(0x1234).Ours() {
		t.Error("an operator's cookie counts as ours")
	}
}

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

// TestFloodLooksAtNoPorts: no flow that a client's TCP segment to a VIP can
// meet looks at layer 4.
func TestFloodLooksAtNoPorts(t *testing.T) {
	intent, ports := lab()
	for _, f := range Build(intent, ports).Flows {
		_, icmp := f.Match.field(FieldICMPv6Type)
		_, arp := f.Match.field(FieldARPOp)
		for _, field := range f.Match {
			layer4 := field.ID == FieldTCPSrc || field.ID == FieldTCPDst || field.ID == FieldTTL
			if layer4 || field.ID == FieldIPProto && !icmp && !arp {
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

// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
	"github.com/onevip/onevip/topology"
)

// TestTwoSwitches: br0 has the client, n1 and n2; br1, behind a trunk, has n3
// and a client of its own.
func TestTwoSwitches(t *testing.T) {
	f := newFixture(t)
	other := f.sw.Host(t, "far", 0x20)
	first := f.installed(t)
	f.sw.Vsctl(t, "del-port", "br0", "n3")
	second := f.secondBridge(t)
	f.applyTrunked(t, first, second)

	t.Run("mirror", func(t *testing.T) { testMirrorAcross(t, f, other) })

	client, far := f.client.Tap(t), other.Tap(t)
	n1, n2, n3 := f.members[0].Tap(t), f.members[1].Tap(t), f.members[2].Tap(t)
	outside := netip.MustParseAddr("10.77.1.9")

	for i, from := range []struct {
		tap *ovstest.Tap
		mac []byte
	}{{client, f.client.MAC}, {far, other.MAC}} {
		mark := uint16(2000 + i)
		// Addressed to n3: the far switch must not take that for n1's wish.
		from.tap.Send(t, tcpFrame(t, from.mac, f.members[2].MAC, outside, vip4, mark))
		for j, tap := range []*ovstest.Tap{n1, n2, n3} {
			got, err := tap.Next(within, marked(mark))
			if err != nil || !bytes.Equal(got[:6], f.members[j].MAC) {
				t.Errorf("client %d: member %d sees %x (%v)", i, j+1, got, err)
			}
		}
	}

	n3.Send(t, tcpFrame(t, f.members[2].MAC, f.client.MAC, vip4, outside, 2100))
	if _, err := client.Next(within, marked(2100)); err != nil {
		t.Errorf("n3's answer across the trunk: %v", err)
	}
	n1.Send(t, tcpFrame(t, f.members[0].MAC, f.members[2].MAC, outside, vip4, 2101))
	if _, err := n3.Next(within, marked(2101)); err != nil {
		t.Errorf("n1 to n3 across the trunk: %v", err)
	}
	n1.Send(t, append(frame(t, &layers.Ethernet{SrcMAC: f.members[0].MAC, DstMAC: broadcast, EthernetType: ovs.EtherNode}), make([]byte, 60)...))
	if _, err := n3.Next(within, func(b []byte) bool { return bytes.Equal(b[12:14], []byte{0x88, 0xb5}) }); err != nil {
		t.Errorf("node frame across the trunk: %v", err)
	}

	// n3's MAC on the first switch is nobody's.
	client.Send(t, tcpFrame(t, f.members[2].MAC, clusterMAC[:], outside, vip4, 2102))
	client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], outside, vip4, 2103))
	got, err := n1.Next(within, func(b []byte) bool { return marked(2102)(b) || marked(2103)(b) })
	if err != nil || !marked(2103)(got) {
		t.Errorf("n1 sees %x (%v)", got, err)
	}
}

// secondBridge makes br1 with n3 and far, joined to br0 by patch ports.
func (f *fixture) secondBridge(t *testing.T) *ovs.Session {
	t.Helper()
	sw := f.topology
	sw.Name, sw.Bridge = "s2", "br1"
	if err := ovs.EnsureBridge(t.Context(), sw, ovs.BridgeOptions{Cluster: "lab", Ports: []string{"n3", "far"}}); err != nil {
		t.Fatal(err)
	}
	f.sw.Vsctl(t, "add-port", "br0", "t0", "--", "set", "interface", "t0", "type=patch", "options:peer=t1",
		"--", "add-port", "br1", "t1", "--", "set", "interface", "t1", "type=patch", "options:peer=t0")
	s := f.accept(t)
	if s.DatapathID() != ovs.DatapathIDOf("lab", "s2") {
		t.Fatalf("datapath id %v", s.DatapathID())
	}
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return s
}

// applyTrunked tells each switch which members are its own.
func (f *fixture) applyTrunked(t *testing.T, first, second *ovs.Session) {
	t.Helper()
	for _, end := range []struct {
		session *ovs.Session
		trunk   string
		local   map[topology.NodeID]bool
	}{
		{first, "t0", map[topology.NodeID]bool{1: true, 2: true}},
		{second, "t1", map[topology.NodeID]bool{3: true}},
	} {
		hasTrunk := func() bool {
			for _, p := range end.session.Ports() {
				if p.Name == end.trunk {
					return true
				}
			}
			return false
		}
		ovstest.WaitFor(t, "port "+end.trunk, hasTrunk)
		intent := f.intent()
		intent.Trunks = []string{end.trunk}
		for i := range intent.Members {
			if !end.local[intent.Members[i].ID] {
				intent.Members[i].Port = ""
			}
		}
		if _, err := end.session.Apply(t.Context(), ovs.Build(intent, end.session.Ports())); err != nil {
			t.Fatal(err)
		}
	}
}

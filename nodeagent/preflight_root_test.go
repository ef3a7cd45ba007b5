// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

var webServices = []netip.AddrPort{netip.AddrPortFrom(vip4, 80), netip.AddrPortFrom(vip6, 80)}

// wantFinding wants exactly one finding, with all parts in it.
func wantFinding(t *testing.T, got []string, parts ...string) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d findings, want 1: %q", len(got), got)
	}
	for _, part := range parts {
		if !strings.Contains(got[0], part) {
			t.Errorf("finding %q, want it to say %q", got[0], part)
		}
	}
}

func TestPreflight(t *testing.T) {
	enterNamespace(t)
	wantFinding(t, Preflight("eth0", webServices), `interface not found: "eth0"`, "has: lo")
	addVeth(t, "eth0", "eth1")
	up(t, "lo")
	if got := Preflight("eth0", webServices); len(got) > 0 {
		t.Errorf("findings on a good node: %q", got)
	}

	addAddr(t, "eth0", vip4.String()+"/24")
	wantFinding(t, Preflight("eth0", webServices), "VIP 10.77.0.1 is on interface eth0", "ip address del 10.77.0.1/24 dev eth0")
	if got := Preflight("eth0", nil); len(got) > 0 {
		t.Errorf("findings without services: %q", got)
	}
	addr, _ := netlink.ParseAddr(vip4.String() + "/24")
	if err := netlink.AddrDel(linkOf(t, "eth0"), addr); err != nil {
		t.Fatal(err)
	}

	if err := netlink.LinkSetDown(linkOf(t, "eth0")); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, Preflight("eth0", webServices), "ip link set eth0 up")
}

func TestPreflightFindsMPTCPListeners(t *testing.T) {
	enterNamespace(t)
	if _, err := readSysctl("net/mptcp/enabled"); err != nil {
		t.Skip("this kernel has no MPTCP")
	}
	addVeth(t, "eth0", "eth1")
	up(t, "lo")
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	plain, err := config.Listen(context.Background(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	if got := Preflight("eth0", webServices); len(got) > 0 {
		t.Errorf("findings with a listener without MPTCP: %q", got)
	}
	plain.Close()

	config.SetMultipathTCP(true)
	listener, err := config.Listen(context.Background(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := writeSysctl("net/mptcp/enabled", "0"); err != nil { // too late for this listener
		t.Fatal(err)
	}
	wantFinding(t, Preflight("eth0", webServices), "listening with MPTCP at [::]:80", "GODEBUG=multipathtcp=0")
	if got := Preflight("eth0", []netip.AddrPort{netip.AddrPortFrom(vip4, 81)}); len(got) > 0 {
		t.Errorf("findings for a service that it does not serve: %q", got)
	}
}

func TestPreflightFindsStrictConntrack(t *testing.T) {
	enterNamespace(t)
	if err := writeSysctl("net/netfilter/nf_conntrack_tcp_loose", "0"); err != nil {
		t.Skipf("no conntrack in this namespace: %v", err)
	}
	addVeth(t, "eth0", "eth1")
	wantFinding(t, Preflight("eth0", nil), "nf_conntrack_tcp_loose=1")
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
)

var bothVIPs = []netip.Addr{vip4, vip6}

func openHost(t *testing.T, runDir string) *linuxHost {
	t.Helper()
	h, err := newLinuxHost("eth0", runDir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// readAll gives all sysctls that the agent may change.
func readAll(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, w := range wantedSysctls("eth0") {
		value, err := readSysctl(w.key)
		if err != nil && !w.optional {
			t.Fatal(err)
		}
		out[w.key] = value
	}
	return out
}

func loAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	addrs, err := addressesOf(linkOf(t, "lo"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(addrs, netip.Addr.IsLoopback)
}

func wantLo(t *testing.T, want ...netip.Addr) {
	t.Helper()
	if diff := cmp.Diff(want, loAddresses(t), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("addresses of lo (-want +got):\n%s", diff)
	}
}

// strangeSysctls makes sure that what is restored is not a default.
func strangeSysctls(t *testing.T) map[string]string {
	t.Helper()
	strange := map[string]string{
		"net/ipv4/conf/all/arp_ignore": "2", "net/ipv4/conf/eth0/arp_announce": "1",
		"net/ipv4/conf/eth0/rp_filter": "1", "net/ipv4/conf/all/rp_filter": "2",
		"net/ipv4/tcp_syncookies": "0", "net/ipv4/tcp_rfc1337": "1",
	}
	if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err == nil {
		strange["net/mptcp/enabled"] = "1"
	}
	for key, value := range strange {
		if err := writeSysctl(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return readAll(t)
}

func prepareAll(t *testing.T, h *linuxHost) {
	t.Helper()
	if err := h.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := h.addVIPs(bothVIPs); err != nil {
		t.Fatal(err)
	}
}

func restoreAll(t *testing.T, h *linuxHost) {
	t.Helper()
	if err := h.removeVIPs(nil); err != nil {
		t.Fatal(err)
	}
	if err := h.restore(); err != nil {
		t.Fatal(err)
	}
}

// Two agents, each as if the one before it had crashed, and then a clean-up: all
// is as it was before the first.
func TestHostIsRestored(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "eth0", "eth1")
	runDir := t.TempDir()
	before := strangeSysctls(t)

	for range 2 {
		prepareAll(t, openHost(t, runDir))
		wantLo(t, bothVIPs...)
		for _, w := range wantedSysctls("eth0") {
			value, err := readSysctl(w.key)
			if !(w.optional && err != nil) && !w.holds(value) {
				t.Errorf("%s is %s, want %s", sysctlName(w.key), value, w.value)
			}
		}
	}
	restoreAll(t, openHost(t, runDir))
	if diff := cmp.Diff(before, readAll(t)); diff != "" {
		t.Errorf("sysctls (-before +after):\n%s", diff)
	}
	wantLo(t)
	if linkOf(t, "lo").Attrs().Flags&net.FlagUp != 0 {
		t.Error("lo is up, it was down before")
	}
	if left, _ := filepath.Glob(runDir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	restoreAll(t, openHost(t, runDir)) // a second clean-up finds nothing
}

func TestHostLeavesOthersThingsAlone(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "eth0", "eth1")
	up(t, "lo")
	addAddr(t, "lo", vip4.String()+"/32") // the operator's own
	if err := writeSysctl("net/ipv4/tcp_syncookies", "2"); err != nil {
		t.Fatal(err)
	}
	h := openHost(t, t.TempDir())
	prepareAll(t, h)
	if value, _ := readSysctl("net/ipv4/tcp_syncookies"); value != "2" {
		t.Errorf("tcp_syncookies is %s, want 2 as it was", value)
	}
	if err := writeSysctl("net/ipv4/conf/eth0/arp_ignore", "3"); err != nil { // changed since
		t.Fatal(err)
	}
	restoreAll(t, h)
	if value, _ := readSysctl("net/ipv4/conf/eth0/arp_ignore"); value != "3" {
		t.Errorf("arp_ignore is %s, want 3 as somebody set it", value)
	}
	wantLo(t, vip4)
	if linkOf(t, "lo").Attrs().Flags&net.FlagUp == 0 {
		t.Error("lo is down, it was up before")
	}
}

func TestVIPsFollowTheServices(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "eth0", "eth1")
	h := openHost(t, t.TempDir())
	prepareAll(t, h)
	if err := h.removeVIPs([]netip.Addr{vip6}); err != nil {
		t.Fatal(err)
	}
	wantLo(t, vip6)
	if err := h.addVIPs([]netip.Addr{vip6}); err != nil {
		t.Fatal(err)
	}
	wantLo(t, vip6)
}

// The node's own connections must not use a VIP as their source.
func TestVIPsAreNoSource(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "eth0", "eth1")
	addAddr(t, "eth0", "fd77::2:1/64")
	prepareAll(t, openHost(t, t.TempDir()))
	routes, err := netlink.RouteGet(net.ParseIP("fd77::9"))
	if err != nil {
		t.Fatal(err)
	}
	if got := routes[0].Src.String(); got != "fd77::2:1" {
		t.Errorf("source to a neighbour is %s, want fd77::2:1", got)
	}
	list, err := netlink.AddrList(linkOf(t, "lo"), netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.IP.String() == vip6.String() && a.PreferedLft != 0 {
			t.Errorf("%s is preferred for %d s, want a deprecated address", a.IP, a.PreferedLft)
		}
	}
}

// Nobody but the switch may answer for a VIP: not the nodes, by ARP or ND.
func TestNobodyAnswersForTheVIPs(t *testing.T) {
	here := enterNamespace(t)
	peer := newPeer(t, here)
	addAddr(t, "eth0", "10.77.2.1/16")
	addAddr(t, "eth0", "fd77::2:1/64")
	prepareAll(t, openHost(t, t.TempDir()))
	inside(t, peer, func() {
		addAddr(t, "eth0", "10.77.2.2/16")
		addAddr(t, "eth0", "fd77::2:2/64")
		neighbours := []string{"10.77.2.1", "fd77::2:1", vip4.String(), vip6.String()}
		for _, to := range neighbours {
			poke(t, to)
		}
		want := map[string]bool{"10.77.2.1": true, "fd77::2:1": true, vip4.String(): false, vip6.String(): false}
		got := map[string]bool{}
		wait(t, "neighbours answer, or do not", func() bool {
			got = resolved(t)
			return len(got) == len(want)
		})
		if !maps.Equal(want, got) {
			t.Errorf("who answers: %v, want %v", got, want)
		}
	})
}

// poke sends a packet, so that the kernel looks for a neighbour.
func poke(t *testing.T, to string) {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(to, "9"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
}

// resolved tells for each neighbour that was looked for whether it answered.
func resolved(t *testing.T) map[string]bool {
	t.Helper()
	list, err := netlink.NeighList(linkOf(t, "eth0").Attrs().Index, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, n := range list {
		switch {
		case n.State&netlink.NUD_FAILED != 0:
			out[n.IP.String()] = false
		case n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0:
			out[n.IP.String()] = true
		}
	}
	return out
}

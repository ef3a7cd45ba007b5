// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// needRoot skips what the fast tests leave out.
func needRoot(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces: left out by -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and BPF")
	}
}

// host is a network namespace without a name, gone with its last descriptor.
type host struct {
	t    testing.TB
	name string
	ns   netns.NsHandle
	nl   *netlink.Handle
}

func newHost(t testing.TB, name string) *host {
	t.Helper()
	h := &host{t: t, name: name}
	done := make(chan error, 1)
	go func() { // the thread ends with the goroutine: it is never unlocked
		runtime.LockOSThread()
		var err error
		h.ns, err = netns.New()
		done <- err
	}()
	h.check(<-done)
	t.Cleanup(func() { h.ns.Close() })
	nl, err := netlink.NewHandleAt(h.ns)
	h.check(err)
	t.Cleanup(nl.Close)
	h.nl = nl
	h.up("lo")
	h.sysctl("net/ipv6/conf/all/accept_dad", "0")
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	return h
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
}

// do runs f on a thread inside the namespace. Sockets made by f stay there.
func (h *host) do(f func()) {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(h.ns)
		if err == nil {
			f()
		}
		done <- err
	}()
	h.check(<-done)
}

func (h *host) sysctl(name, value string) {
	h.t.Helper()
	var err error
	h.do(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
	h.check(err)
}

func (h *host) link(name string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	h.check(err)
	return l
}

func (h *host) up(name string) { h.t.Helper(); h.check(h.nl.LinkSetUp(h.link(name))) }

func (h *host) address(link, cidr string) {
	h.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	h.check(err)
	if a.IP.To4() == nil {
		a.Flags = 0x02 // IFA_F_NODAD
	}
	h.check(h.nl.AddrAdd(h.link(link), a))
}

func (h *host) neighbor(link, ip string, mac net.HardwareAddr) {
	h.t.Helper()
	h.check(h.nl.NeighSet(&netlink.Neigh{
		LinkIndex: h.link(link).Attrs().Index, IP: net.ParseIP(ip), HardwareAddr: mac,
		State: netlink.NUD_PERMANENT,
	}))
}

// wire joins two hosts by a veth pair, both ends down.
func wire(a *host, aName string, aMAC net.HardwareAddr, b *host, bName string) {
	a.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = aName, aMAC
	attrs.Namespace = netlink.NsFd(a.ns)
	a.check(b.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns),
	}))
}

func mustMAC(s string) net.HardwareAddr {
	mac, err := net.ParseMAC(s)
	if err != nil {
		panic(fmt.Sprintf("MAC %s: %v", s, err))
	}
	return mac
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: needs root and network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
}

// enterNamespace puts the test's goroutine, and nothing that it starts, into a
// new network namespace. It has no name and goes with the test.
func enterNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	needRoot(t)
	probeNetwork(t)
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Set(home); err != nil {
			t.Error(err)
		}
		home.Close()
		runtime.UnlockOSThread()
	})
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// probeNetwork has package net find out what IP versions there are: it does so once in a
// process, and a new namespace has no IPv6 until its lo is up.
func probeNetwork(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// newPeer makes a second namespace, joined to the current one by a veth pair:
// eth0 at both ends. It gives the peer's namespace.
func newPeer(t *testing.T, here netns.NsHandle) netns.NsHandle {
	t.Helper()
	peer, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	addVeth(t, "eth0", "peer0")
	inside(t, here, func() {
		end := linkOf(t, "peer0")
		if err := netlink.LinkSetNsFd(end, int(peer)); err != nil {
			t.Fatal(err)
		}
	})
	inside(t, peer, func() {
		end := linkOf(t, "peer0")
		if err := netlink.LinkSetName(end, "eth0"); err != nil {
			t.Fatal(err)
		}
		up(t, "eth0")
	})
	// Until the kernel has seen the carrier it drops what is sent.
	wait(t, "eth0 has a carrier", func() bool { return linkOf(t, "eth0").Attrs().OperState == netlink.OperUp })
	return peer
}

func addVeth(t *testing.T, name, peer string) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}); err != nil {
		t.Fatal(err)
	}
	up(t, name)
}

func linkOf(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("interface %s: %v", name, err)
	}
	return link
}

func up(t *testing.T, name string) {
	t.Helper()
	if err := netlink.LinkSetUp(linkOf(t, name)); err != nil {
		t.Fatal(err)
	}
}

func addAddr(t *testing.T, name, cidr string) {
	t.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatal(err)
	}
	if addr.IP.To4() == nil {
		addr.Flags = 2 // IFA_F_NODAD
	}
	if err := netlink.AddrAdd(linkOf(t, name), addr); err != nil {
		t.Fatal(err)
	}
}

// inside runs f in a namespace, on this goroutine, and returns to where it was.
func inside(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	back, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(back); err != nil {
			t.Error(err)
		}
	}()
	f()
}

// wait looks until ok, for a minute at most: machines that test are busy.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func interfaceOf(t *testing.T, name string) *net.Interface {
	t.Helper()
	iface, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return iface
}

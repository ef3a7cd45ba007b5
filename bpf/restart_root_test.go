// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A new agent takes the programs and tables over: what is connected stays, and
// what comes in between finds the filter as it was.
func TestTakeOverKeepsEverything(t *testing.T) {
	c := newCluster(t, 2)
	for _, n := range c.nodes {
		n.serve()
	}
	kept, err := c.dial(vip4, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	owner, err := ask(kept)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		n.check(n.filter.Close())
	}
	between, err := c.dial(vip6, 0)
	if err != nil {
		t.Fatalf("with no process behind the programs: %v", err)
	}
	defer between.Close()
	for _, n := range c.nodes {
		n.takeOver()
	}
	if got, err := ask(kept); err != nil || got != owner {
		t.Errorf("the connection kept: %q, %v; want %q", got, err, owner)
	}
	if _, err := ask(between); err != nil {
		t.Errorf("the connection in between: %v", err)
	}
	if got := c.active(); got != 2 {
		t.Errorf("%d connections active, want 2", got)
	}
	if _, err := c.dial(vip4, 0); err != nil {
		t.Errorf("after the take-over, with the tables of before: %v", err)
	}
}

func TestOtherBoundsAreAnotherVersion(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	dir := filepath.Dir(n.filter.pins)
	var err error
	n.do(func() { _, err = Open(Options{PinDir: dir, Interface: "eth0", Tombstones: 1024}) })
	requireIs(t, err, ErrOtherVersion)
}

// The programs of another version are still attached: both would filter.
func TestPinsOfAnotherVersionAreRefused(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	dir := filepath.Dir(n.filter.pins)
	n.check(os.Mkdir(filepath.Join(dir, "v1"), 0o700))
	var err error
	n.do(func() { _, err = Open(Options{PinDir: dir, Interface: "eth0", Tombstones: 16384, SYNRecords: 8192}) })
	requireIs(t, err, ErrOtherVersion)
}

func TestNoListenerResets(t *testing.T) {
	variants(t, 1, func(t *testing.T, c *cluster, r *rawClient) {
		if c.nodes[0].listener != nil {
			c.nodes[0].listener.Close()
		}
		sa := r.syn()
		r.send(r.first(sa))
		rst := r.receive("RST", isReset)
		if rst.Seq != sa.isn+1 {
			t.Errorf("RST at %d, want %d: the client would ignore it", rst.Seq, sa.isn+1)
		}
		if got := c.reasons(ReasonResetNoListener); got != 1 {
			t.Errorf("reset_no_listener counted %d times, want 1\n%s", got, c.explain())
		}
	})
}

func TestMPTCPListenerIsSaid(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	var l net.Listener
	var err error
	n.do(func() {
		var lc net.ListenConfig
		lc.SetMultipathTCP(true)
		l, err = lc.Listen(context.Background(), "tcp", ":80")
	})
	n.check(err)
	defer l.Close()
	c.begin()
	r := c.newRawClient(vip4, true)
	r.send(r.first(r.syn()))
	waitFor(t, "adopt_mptcp counted", func() bool { return c.reasons(ReasonAdoptMPTCP) == 1 })
}

// The kernel says yes and drops the segment all the same when the accept queue
// is full; the same segment, sent again, must be adopted then.
func TestFullAcceptQueueOnlyDelays(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	fd := n.lazyListener()
	defer unix.Close(fd)
	c.begin()
	const clients = 3 // a backlog of 0 holds one
	var firsts []func()
	for range clients {
		r := c.newRawClient(vip4, true)
		first := r.first(r.syn())
		firsts = append(firsts, func() { r.send(first) })
		r.send(first)
	}
	waitFor(t, "three adoptions tried", func() bool { return c.reasons(ReasonAdopted) >= clients })
	if got := c.adopted(); got == clients {
		t.Fatal("the accept queue held all: the test tests nothing")
	}
	for range clients {
		n.do(func() {
			conn, _, err := unix.Accept(fd)
			n.check(err)
			unix.Close(conn)
		})
		for _, send := range firsts {
			send()
		}
	}
	waitFor(t, "all adopted", func() bool { return c.adopted() == clients })
}

// lazyListener listens on port 80 with a backlog of 0 and accepts nothing.
func (n *node) lazyListener() (fd int) {
	n.t.Helper()
	var err error
	n.do(func() {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		n.check(err)
		n.check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		n.check(unix.Bind(fd, &unix.SockaddrInet6{Port: 80}))
		err = unix.Listen(fd, 0)
	})
	n.check(err)
	return fd
}

// On a veth pair with checksum offload the packets have none yet when they
// come in; what we make of them must be right at the other end.
func TestChecksumOffloadOnADirectPair(t *testing.T) {
	needRoot(t)
	c := &cluster{root: t, t: t, client: newHost(t, "client")}
	n := &node{host: newHost(t, "n1"), id: 1}
	wire(c.client, "eth0", clientMAC, n.host, "eth0")
	n.check(n.nl.LinkSetHardwareAddr(n.link("eth0"), clusterMAC))
	c.client.up("eth0")
	n.up("eth0")
	waitFor(t, "the wire is up", func() bool { return isUp(c.client) && isUp(n.host) })
	c.addressClient()
	c.setUpNode(n)
	c.share("least-connection")
	n.serve()
	for range 20 {
		conn, err := c.dial(vip4, 0)
		if err != nil {
			t.Fatalf("%v\n%s", err, c.explain())
		}
		if _, err := ask(conn); err != nil {
			t.Fatalf("%v\n%s", err, c.explain())
		}
		conn.Close()
	}
	waitFor(t, "20 adopted", func() bool { return c.adopted() == 20 })
}

func isUp(h *host) bool { return h.link("eth0").Attrs().OperState == netlink.OperUp }

func requireIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

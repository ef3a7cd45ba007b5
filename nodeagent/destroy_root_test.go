// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// Connections of the VIPs go, in any state and of either family; listeners, other
// addresses and the node's connections to itself stay.
func TestDestroyConns(t *testing.T) {
	enterNamespace(t)
	up(t, "lo")
	for _, cidr := range []string{"10.77.0.1/32", "fd77::1/128", "10.77.0.9/32", "fd77::9/128"} {
		addAddr(t, "lo", cidr)
	}
	if err := awaitLocal([]netip.Addr{vip6, netip.MustParseAddr("fd77::9")}); err != nil {
		t.Fatal(err)
	}
	dual, only4, other := listenPlain(t, ":80"), listenPlain(t, "10.77.0.1:81"), listenPlain(t, "10.77.0.9:82")
	dialFrom(t, "10.77.0.9", "10.77.0.1:80") // of the dual listener: an AF_INET6 socket
	dialFrom(t, "fd77::9", "[fd77::1]:80")
	accept(t, dual, 2)
	dialFrom(t, "10.77.0.9", "10.77.0.1:81")
	dialFrom(t, "10.77.0.9", "10.77.0.1:81").CloseWrite() // the server's end: CLOSE_WAIT
	accept(t, only4, 2)
	rest := dialFrom(t, "10.77.0.9", "10.77.0.1:81")
	accept(t, only4, 1)[0].Close() // the server's end: FIN_WAIT2, then TIME_WAIT
	kept := dialFrom(t, "10.77.0.9", "10.77.0.9:82")
	accept(t, other, 1)
	own := dialFrom(t, "10.77.0.1", "10.77.0.1:80")
	accept(t, dual, 1)

	rest.Close()
	vips := []netip.Addr{vip4, vip6}
	wait(t, "a connection is in TIME_WAIT", func() bool { return count(t, vips, unix.BPF_TCP_TIME_WAIT) == 1 })

	destroyed, err := destroyConns(vips)
	if err != nil || destroyed != 5 {
		t.Errorf("destroyed %d connections, error %v, want 5", destroyed, err)
	}
	if left, err := connsAt(vips); err != nil || len(left) > 0 {
		t.Errorf("left: %+v, error %v", left, err)
	}
	for _, c := range []interface{ Write([]byte) (int, error) }{kept, own} {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("a connection that is none of a VIP's clients: %v", err)
		}
	}
	dialFrom(t, "10.77.0.9", "10.77.0.1:80") // the listeners are there
	dialFrom(t, "10.77.0.9", "10.77.0.1:81")

	if again, err := destroyConns(vips); err != nil || again != 2 {
		t.Errorf("destroyed %d connections, error %v, want the 2 new ones", again, err)
	}
}

// count tells how many connections of addresses are in a state.
func count(t *testing.T, of []netip.Addr, state uint8) (n int) {
	t.Helper()
	conns, err := connsAt(of)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if c.state == state {
			n++
		}
	}
	return n
}

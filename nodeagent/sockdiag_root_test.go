// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
)

func TestDumpConns(t *testing.T) {
	enterNamespace(t)
	up(t, "lo")
	for _, cidr := range []string{"10.77.0.1/32", "10.77.0.9/32", "fd77::1/128", "fd77::9/128"} {
		addAddr(t, "lo", cidr)
	}
	if err := awaitLocal([]netip.Addr{vip6, netip.MustParseAddr("fd77::9")}); err != nil {
		t.Fatal(err)
	}
	listener := listenPlain(t, ":80") // dual-stack: one AF_INET6 socket for both
	other := listenPlain(t, ":81")
	dialed := []*net.TCPConn{
		dialFrom(t, "10.77.0.9", "10.77.0.1:80"), dialFrom(t, "fd77::9", "[fd77::1]:80"),
		dialFrom(t, "10.77.0.1", "10.77.0.1:80"), // a health check
		dialFrom(t, "10.77.0.9", "10.77.0.9:80"), // not to a VIP
		dialFrom(t, "10.77.0.9", "10.77.0.1:81"), // not to the service's port
	}
	served := accept(t, listener, 4)
	accept(t, other, 1)

	wantDumped(t, local(dialed[0]), local(dialed[1]))
	first := dump(t)
	if first[0].cookie == 0 || first[0].cookie == first[1].cookie {
		t.Errorf("cookies are %d and %d, want two different ones", first[0].cookie, first[1].cookie)
	}

	// The client closes one: CLOSE_WAIT at the server still counts.
	dialed[0].Close()
	wantDumped(t, local(dialed[0]), local(dialed[1]))
	// The server closes the other first: its FIN_WAIT2 without a socket does not.
	port := local(dialed[1]).Port()
	for _, conn := range served {
		if conn.RemoteAddr().(*net.TCPAddr).AddrPort().Port() == port {
			conn.Close()
		}
	}
	wait(t, "the closed connection is gone", func() bool { return len(dump(t)) == 1 })
	wantDumped(t, local(dialed[0]))
}

func TestConnsHere(t *testing.T) {
	enterNamespace(t)
	up(t, "lo")
	for _, cidr := range []string{"10.77.0.1/32", "10.77.0.9/32", "fd77::1/128", "fd77::9/128"} {
		addAddr(t, "lo", cidr)
	}
	if err := awaitLocal([]netip.Addr{vip6, netip.MustParseAddr("fd77::9")}); err != nil {
		t.Fatal(err)
	}
	listener := listenPlain(t, ":80")
	dialed := []*net.TCPConn{dialFrom(t, "10.77.0.9", "10.77.0.1:80"), dialFrom(t, "fd77::9", "[fd77::1]:80")}
	accept(t, listener, 2)
	var flows []bpf.Flow
	want := map[bpf.Flow]bool{}
	for _, c := range dialed {
		flow := bpf.Flow{Client: local(c), VIP: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
		want[flow] = true
		for _, off := range []uint16{0, 1} { // the listener alone is no connection
			flows = append(flows, bpf.Flow{Client: netip.AddrPortFrom(flow.Client.Addr(), flow.Client.Port()-off), VIP: flow.VIP})
		}
	}
	got, err := connsHere(flows)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(bpf.Flow{})); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func dump(t *testing.T) []openConn {
	t.Helper()
	got, err := dumpConns(testRules().services)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b openConn) int { return a.client.Compare(b.client) })
	return got
}

func wantDumped(t *testing.T, want ...netip.AddrPort) {
	t.Helper()
	var got []netip.AddrPort
	for _, c := range dump(t) {
		got = append(got, c.client)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
}

func listenPlain(t *testing.T, at string) net.Listener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func dialFrom(t *testing.T, from, to string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func accept(t *testing.T, listener net.Listener, n int) (out []net.Conn) {
	t.Helper()
	for range n {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		out = append(out, conn)
	}
	return out
}

func local(c net.Conn) netip.AddrPort {
	return c.LocalAddr().(*net.TCPAddr).AddrPort()
}

// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/onevip/onevip/ovs"
)

// TestMegaflows makes 1 000 TCP connections from clients near and far, with
// port numbers of their own, to a VIP, while SYN/ACKs are mirrored. Each way, the
// datapath needs a flow for each length of the prefix that a client's address
// shares with the VIP; from the VIP, one more each for SYN/ACKs. It needs none
// for a port.
func TestMegaflows(t *testing.T) {
	f := newFixture(t)
	s := f.accept(t)
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, m := range f.members[1:] { // plain kernels: only one may answer
		m.Must(t, "ip", "address", "flush", "dev", "lo")
	}
	if _, err := s.Apply(t.Context(), ovs.Build(f.intent(), s.Ports())); err != nil {
		t.Fatal(err)
	}
	f.speak(t, s)
	serve(t, f)

	for _, tt := range []struct {
		name    string
		vip     netip.Addr
		clients []string // networks
		most    int      // megaflows each way
	}{
		{"one network", vip4, []string{"10.77.1.0/24"}, 1},
		{"one network, IPv6", vip6, []string{"fd77::1:0/112"}, 1},
		{"near and far", vip4, []string{"10.77.0.64/26", "10.77.1.0/24", "10.200.3.0/24", "172.16.5.0/24", "198.51.100.0/24"}, 8},
		{"near and far, IPv6", vip6, []string{"fd77::40/122", "fd77::1:0/112", "fd78:1:2::/112", "2001:db8::/112"}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var networks []netip.Prefix
			for _, text := range tt.clients {
				networks = append(networks, netip.MustParsePrefix(text))
			}
			f.route(t, networks)
			f.sw.Appctl(t, "revalidator/purge")
			connect(t, f, networks, tt.vip, 1000)
			checkMegaflows(t, f, "dst="+tt.vip.String()+",", tt.most)
			checkMegaflows(t, f, "src="+tt.vip.String()+",", 2*tt.most)
		})
	}
}

func checkMegaflows(t *testing.T, f *fixture, containing string, most int) {
	t.Helper()
	flows := f.sw.Megaflows(t, containing)
	if len(flows) == 0 || len(flows) > most {
		t.Errorf("%d megaflows with %s want 1..%d:\n%s", len(flows), containing, most, strings.Join(flows, "\n"))
	}
	for _, flow := range flows {
		for _, port := range []string{"tcp(", "src_port", "dst_port"} {
			if strings.Contains(flow, port) {
				t.Errorf("a megaflow looks at ports: %s", flow)
			}
		}
	}
}

// route makes all addresses of the networks the client's.
func (f *fixture) route(t *testing.T, networks []netip.Prefix) {
	t.Helper()
	f.client.Must(t, "sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1")
	for _, network := range networks {
		gateway := "10.77.1.1"
		if network.Addr().Is6() {
			gateway = "fd77::1:1"
		}
		f.client.Must(t, "ip", "route", "replace", "local", network.String(), "dev", "lo")
		f.members[0].Must(t, "ip", "route", "replace", network.String(), "via", gateway, "dev", "eth0", "onlink")
	}
}

// serve accepts connections to the VIPs at the first member, and closes each
// when the client does.
func serve(t *testing.T, f *fixture) {
	t.Helper()
	for _, vip := range []netip.Addr{vip4, vip6} {
		var listener net.Listener
		var err error
		f.members[0].Do(t, func() { listener, err = net.Listen("tcp", netip.AddrPortFrom(vip, 80).String()) })
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(conn, conn) // until the client closes
				_ = conn.Close()
			}
		}()
		t.Cleanup(func() { _ = listener.Close(); <-done })
	}
}

// connect makes connections one after the other, each from another address and
// with an exchange of data.
func connect(t *testing.T, f *fixture, networks []netip.Prefix, vip netip.Addr, count int) {
	t.Helper()
	f.client.Do(t, func() {
		for i := range count {
			source := host(networks[i%len(networks)], 2+i/len(networks)%60)
			if err := exchange(t.Context(), source, vip); err != nil {
				t.Errorf("connection %d from %v: %v", i, source, err)
				return
			}
		}
	})
}

// host is the n-th address of a network, at most the 63rd.
func host(network netip.Prefix, n int) netip.Addr {
	b := network.Addr().AsSlice()
	b[len(b)-1] += byte(n)
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func exchange(ctx context.Context, source, vip netip.Addr) error {
	dialer := net.Dialer{Timeout: within, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(vip, 80).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 5))
	return err
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/onevip/onevip/topology"
)

// A node that was booted has no VIP yet. Another node's server must not answer for it,
// nor be asked.
func TestChecksDoNotLeaveTheNode(t *testing.T) {
	here := enterNamespace(t)
	peer := newPeer(t, here)
	addAddr(t, "eth0", "192.0.2.1/24")
	addAddr(t, "eth0", "fd00::1/64")
	var asked atomic.Int64
	for _, at := range []string{"192.0.2.80:80", "[fd00::80]:80"} {
		at := netip.MustParseAddrPort(at)
		inside(t, peer, func() {
			addAddr(t, "eth0", netip.PrefixFrom(at.Addr(), at.Addr().BitLen()-8).String())
			listener, err := net.Listen("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					asked.Add(1)
					conn.Close()
				}
			}()
		})
		if got, want := checkService(t.Context(), serviceAt(at, topology.HealthTCP, "")), at.String()+": the address is not on this node"; got != want {
			t.Errorf("TCP check: %q, want %q", got, want)
		}
		// In the transport's goroutine it would be in another namespace.
		if _, err := healthTransport.DialContext(t.Context(), "tcp", at.String()); !errors.Is(err, errNotHere) {
			t.Errorf("HTTP check connects with error %v, want %v", err, errNotHere)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the other node was asked %d times", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// manyVIPs are n addresses of each family.
func manyVIPs(n int) (all []netip.Addr) {
	for i := range n {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)),
			netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
	}
	return all
}

func synTo(vip netip.Addr, port layers.TCPPort) []byte {
	client := client4
	if vip.Is6() {
		client = client6
	}
	return inbound(client, vip).tcp(layers.TCP{SrcPort: clientPort, DstPort: port, SYN: true}, nil)
}

// Few services are compared in the configuration, many are looked up in maps:
// SYNs meet the same either way, and what was taken away is gone.
func TestFixtureFewAndManyServices(t *testing.T) {
	r := newRig(t)
	all := manyVIPs(12)
	for _, n := range []int{1, 4, 5, 8, 9, 12, 3, 0} { // of a family; 4 are as many pairs as fit
		vips := all[:2*n]
		services := []Service{{ID: quietService, VIPs: vips, Port: quietPort, Policy: topology.RoundRobin}}
		if err := r.f.SetServices(services); err != nil {
			t.Fatal(err)
		}
		for i, vip := range all {
			service, other := ReasonAnswered, ReasonRefusedNoService
			if i >= len(vips) {
				service, other = ReasonNotVIP, ReasonNotVIP
			}
			if got := r.send(t, synTo(vip, quietPort)).reason; got != service {
				t.Errorf("%d VIPs: SYN to the service on %s: reason %s, want %s", len(vips), vip, got, service)
			}
			if got := r.send(t, synTo(vip, noPort)).reason; got != other {
				t.Errorf("%d VIPs: SYN to no service on %s: reason %s, want %s", len(vips), vip, got, other)
			}
		}
	}
}

// Two services on one VIP have owners of their own.
func TestFixtureServicesAreApart(t *testing.T) {
	r := newRig(t)
	r.setOwner(t, webService, 20)
	r.setOwner(t, quietService, 30)
	for _, f := range families {
		for port, want := range map[uint16]topology.NodeID{webPort: 20, quietPort: 30} {
			got := r.expect(t, f.segment(port, plainOffer(port).syn()), ReasonAnswered)
			if owner := ownerOf(f, got.frame); owner != want {
				t.Errorf("%s port %d: owner %d, want %d", f.name, port, owner, want)
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// A client behind a hop of 1 400 bytes that its own interface knows nothing of:
// the node must hear the hop's "fragmentation needed", or 1 MB never arrives.
func TestPathMTU(t *testing.T) {
	quickstart.use(t)
	far := makeFarClient(t, quickstart)
	want := sha256Of(quickstart.run(t, "n1", "sh", "-c", "sha256sum $ONEVIP_FILES/1m"))
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			before := quickstart.tooBig(t)
			out, err := exec.Command("nsenter", "--net=/run/netns/"+far, "sh", "-c",
				"curl -fsS --max-time 20 "+f.url("/1m")+" | sha256sum").CombinedOutput()
			if got := sha256Of(string(out)); err != nil || got != want {
				t.Fatalf("1 MB through the hop: %v, %s", err, out)
			}
			if quickstart.tooBig(t) == before {
				t.Error("the hop never had to say that a packet is too big: the test tested nothing")
			}
		})
	}
}

// tooBig counts the packets that the hop refused for their size.
func (l *lab) tooBig(t *testing.T) int {
	t.Helper()
	c := l.counters(t, "client")
	return c["IpFragFails"] + c["Icmp6OutPktTooBigs"]
}

// makeFarClient makes a namespace behind the lab's client, which forwards for
// it into a link whose MTU is 1400 at the client's end only.
func makeFarClient(t *testing.T, l *lab) string {
	t.Helper()
	name := fmt.Sprintf("e2e-far-%05x", rand.N(1<<20))
	t.Cleanup(func() {
		exec.Command("ip", "netns", "del", name).Run() //nolint:errcheck // it may not be there
		for _, node := range nodes {
			l.run(t, node, "ip", "route", "del", "10.78.0.0/24")
			l.run(t, node, "ip", "route", "del", "fd78::/64")
		}
	})
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	l.run(t, "client", "sh", "-ec", `
		ip link add far type veth peer name eth0 netns `+name+`
		ip link set far mtu 1400 up
		ip addr add 10.78.0.1/24 dev far
		ip addr add fd78::1/64 dev far nodad
		sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
		ethtool -K far tx off >/dev/null`)
	script := `
		ip link set lo up
		ip link set eth0 up
		ethtool -K eth0 tx off >/dev/null
		ip addr add 10.78.0.2/24 dev eth0
		ip addr add fd78::2/64 dev eth0 nodad
		ip route add default via 10.78.0.1
		ip route add default via fd78::1`
	if out, err := exec.Command("nsenter", "--net=/run/netns/"+name, "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("far client: %v\n%s", err, out)
	}
	for _, node := range nodes {
		l.run(t, node, "ip", "route", "add", "10.78.0.0/24", "via", "10.77.1.1")
		l.run(t, node, "ip", "route", "add", "fd78::/64", "via", "fd77::1:1")
	}
	return name
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs/ovstest"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// inNamespace is Open vSwitch whose listener is in the private switch's namespace.
type inNamespace struct {
	openVSwitch
	t  *testing.T
	sw *ovstest.Switch
}

func (f inNamespace) listen(ctx context.Context, addr string) (l listener, err error) {
	f.sw.Do(f.t, func() { l, err = f.openVSwitch.listen(ctx, addr) })
	return l, err
}

// privateLab is a real switch with a client and n1 to n3 on it.
type privateLab struct {
	fabric inNamespace
	config topology.Cluster
	sw     *ovstest.Switch
	hosts  map[string]*ovstest.Host
	client net.PacketConn
}

// newPrivateLab has n1 echo what comes to the VIP, as the nodes' programs would
// see to.
func newPrivateLab(t *testing.T) privateLab {
	ovstest.Need(t)
	sw := ovstest.Start(t)
	client := sw.Host(t, "client", 0x10, "10.77.1.1/16")
	hosts := map[string]*ovstest.Host{}
	for i, name := range []string{"n1", "n2", "n3"} {
		host := sw.Host(t, name, uint8(i+1), "10.77.2."+string(rune('1'+i))+"/16")
		hosts[name] = host
		host.Must(t, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2", "net.ipv4.conf.all.rp_filter=0")
		if name == "n1" {
			host.Must(t, "ip", "address", "add", "10.77.0.1/32", "dev", "lo")
			go echo(socket(t, host, "10.77.0.1:7"))
		}
	}
	config := clusterOf(t, []string{"nodes=n1,n2,n3", "services=web:80"})
	config.Controller.OpenFlow = "127.0.0.1:6653"
	config.Switches = []topology.Switch{{
		Name: "s1", Bridge: "br0", OVSDB: sw.DB, Datapath: topology.DatapathAuto,
		Target: "tcp:127.0.0.1:6653", Uplinks: []string{"client"},
	}}
	fabric := inNamespace{openVSwitch{slog.New(slog.DiscardHandler)}, t, sw}
	return privateLab{fabric: fabric, config: config, sw: sw, hosts: hosts, client: socket(t, client, "10.77.1.1:0")}
}

func socket(t *testing.T, host *ovstest.Host, addr string) (conn net.PacketConn) {
	t.Helper()
	var err error
	host.Do(t, func() { conn, err = net.ListenPacket("udp4", addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func echo(conn net.PacketConn) {
	buffer := make([]byte, 64)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buffer[:n], from)
	}
}

// ask sends one datagram to the VIP and tells whether it came back in time.
func (p privateLab) ask(t *testing.T, number uint32) bool {
	t.Helper()
	request := binary.BigEndian.AppendUint32(nil, number)
	vip := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.77.0.1:7"))
	if _, err := p.client.WriteTo(request, vip); err != nil {
		t.Fatal(err)
	}
	_ = p.client.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	answer := make([]byte, 64)
	for {
		n, _, err := p.client.ReadFrom(answer)
		if err != nil {
			return false
		}
		if bytes.Equal(answer[:n], request) {
			return true
		}
	}
}

// stream asks all the time until the function returned is called, which tells
// how many were asked and how many got no answer.
func (p privateLab) stream(t *testing.T) (stop func() (asked, lost int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	asked, lost := 0, 0
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			asked++
			if !p.ask(t, uint32(asked)) {
				lost++
			}
		}
	}()
	return func() (int, int) {
		cancel()
		<-done
		return asked, lost
	}
}

func (p privateLab) flood(t *testing.T) string { return p.sw.Ofctl(t, "dump-groups", "br0") }
func (p privateLab) flows(t *testing.T) string {
	return normal(p.sw.Ofctl(t, "dump-flows", "--no-stats", "br0"))
}

// TestRealSwitch: the VIP answers through a real Open vSwitch, and goes on to
// while controllers come and go.
func TestRealSwitch(t *testing.T) {
	lab := newPrivateLab(t)
	store := state.NewMemory()
	first := start(t, store, lab.fabric, "c1", lab.config)
	for _, name := range []string{"n1", "n2", "n3"} {
		putNode(t, store, name)
	}
	await(t, "an answer from the VIP", func() bool { return lab.ask(t, 0) })
	for _, name := range []string{"n1", "n2", "n3"} {
		await(t, name+" in the flood", func() bool { return strings.Contains(lab.flood(t), macOf(name).String()) })
	}
	flows := lab.flows(t)

	stop := lab.stream(t)
	if err := first.end(t); err != nil {
		t.Fatal(err)
	}
	if now := lab.flows(t); now != flows {
		t.Errorf("flows after the controller ended:\n%s\nbefore:\n%s", now, flows)
	}
	begun := time.Now()
	second := start(t, store, lab.fabric, "c2", lab.config)
	second.metric(t, `onevip_controller_switch_sessions{switch="s1"} 1`)
	t.Logf("the switch is connected again after %v", time.Since(begun))
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: "n3", MAC: macOf("n9")})
	await(t, "n3's new MAC", func() bool { return strings.Contains(lab.flood(t), macOf("n9").String()) })
	if asked, lost := stop(); lost > 0 || asked < 100 {
		t.Errorf("%d of %d requests got no answer while controllers changed", lost, asked)
	}

	// The switch itself dies and comes back with empty tables.
	lab.sw.Crash(t)
	second.metric(t, `onevip_controller_switch_sessions{switch="s1"} 0`)
	lab.sw.Revive(t)
	await(t, "an answer after the switch's return", func() bool { return lab.ask(t, 1) })
	if failures := viewOf(t, store).Failures; len(failures) > 0 {
		t.Errorf("failures %v: the switch's own outage is no node's", failures)
	}
}

// normal leaves out what differs from term to term: the cookie's round.
func normal(flows string) string {
	lines := strings.Split(flows, "\n")
	for i, line := range lines {
		_, lines[i], _ = strings.Cut(line, ", ")
	}
	return strings.Join(lines, "\n")
}

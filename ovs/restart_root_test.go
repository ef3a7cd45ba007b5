// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
)

// TestRestartLosesNothing: while a client sends a packet each millisecond, the
// controller dies, another comes, finds all in place, and then changes the
// members to and fro. The first member misses none of the packets.
func TestRestartLosesNothing(t *testing.T) {
	f := newFixture(t)
	f.installed(t)
	client, member := f.client.Tap(t), f.members[0].Tap(t)

	stop := make(chan struct{})
	sent := make(chan uint16)
	go func() { sent <- stream(t, f, client, stop) }()
	received := make(chan map[uint16]int)
	go func() { received <- collect(member) }()

	f.restartController(t)
	close(stop)
	last := <-sent
	client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], netip.MustParseAddr("10.77.1.9"), vip4, endOfStream))
	got := <-received
	missing := 0
	for number := firstOfStream; number <= last; number++ {
		if got[number] != 1 {
			missing++
		}
	}
	t.Logf("%d packets sent, %d missing or double", last-firstOfStream+1, missing)
	if missing > 0 || last < firstOfStream+500 {
		t.Errorf("%d of %d packets missing or double, want none of at least 500", missing, last-firstOfStream+1)
	}
}

// The stream's packets are numbered by their source port.
const (
	firstOfStream uint16 = 1000
	endOfStream   uint16 = 999
)

// stream sends a packet each millisecond and gives the number of the last.
func stream(t *testing.T, f *fixture, client *ovstest.Tap, stop <-chan struct{}) (last uint16) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for last = firstOfStream; last < 60000; last++ {
		client.Send(t, tcpFrame(t, f.client.MAC, clusterMAC[:], netip.MustParseAddr("10.77.1.9"), vip4, last))
		select {
		case <-stop:
			return last
		case <-tick.C:
		}
	}
	return last
}

// collect counts the stream's packets by number, until its end.
func collect(member *ovstest.Tap) map[uint16]int {
	got := make(map[uint16]int)
	_, _ = member.Next(time.Minute, func(b []byte) bool { // an error shows as missing packets
		tcp, ok := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ok {
			got[uint16(tcp.SrcPort)]++
		}
		return ok && uint16(tcp.SrcPort) == endOfStream
	})
	return got
}

// restartController ends the listener, starts another at its address and applies
// as a new leader does, then changes the members 20 times.
func (f *fixture) restartController(t *testing.T) {
	t.Helper()
	address := f.listener.Addr().String()
	if err := f.listener.Close(); err != nil {
		t.Error(err)
	}
	ovstest.WaitFor(t, "the switch to miss its controller", func() bool {
		return f.sw.Vsctl(t, "--bare", "--columns=is_connected", "list", "controller") == "false\n"
	})
	f.sw.Do(t, func() {
		var err error
		f.listener, err = ovs.Listen(context.Background(), address, ovs.ListenOptions{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Errorf("listen again: %v", err)
		}
	})
	t.Cleanup(func() { _ = f.listener.Close() })
	s := f.accept(t)
	if err := s.Claim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	whole, fewer := f.intent(), f.intent()
	fewer.Members = fewer.Members[:1]
	fewer.VIPs = fewer.VIPs[:1]
	done, err := s.Apply(t.Context(), ovs.Build(whole, s.Ports()))
	if err != nil || len(done.Changes) != 0 {
		t.Errorf("apply after the restart: %+v, error %v", done, err)
	}
	for i := range 20 {
		intent := whole
		if i%2 == 0 {
			intent = fewer
		}
		if done, err = s.Apply(t.Context(), ovs.Build(intent, s.Ports())); err != nil || len(done.Changes) == 0 {
			t.Errorf("change %d: %+v, error %v", i, done, err)
		}
	}
}

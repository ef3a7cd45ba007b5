// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// The cast of a failure: a scheduler, the guard of all slots, and the owner of all
// connections, who is to fail.
type failure struct {
	*cluster
	scheduler, guard, owner *node
}

func newFailure(t *testing.T, timestamps string) *failure {
	c := newCluster(t, 3)
	c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
	f := &failure{cluster: c, scheduler: c.nodes[0], guard: c.nodes[1], owner: c.nodes[2]}
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i] = Slot{Primary: f.scheduler.id, Secondary: f.guard.id}
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetSlots(table))
		n.serve()
	}
	c.onlyPick(f.owner)
	return f
}

// failures runs a story in both IP versions, with and without timestamps.
func failures(t *testing.T, story func(t *testing.T, f *failure, vip netip.Addr)) {
	t.Helper()
	for _, timestamps := range []string{"1", "0"} {
		for _, fam := range families {
			t.Run(fam.name+" timestamps="+timestamps, func(t *testing.T) {
				story(t, newFailure(t, timestamps), fam.vip)
			})
		}
	}
}

// crash takes the owner off the wire: nothing of it is heard any more.
func (f *failure) crash() { f.owner.check(f.owner.nl.LinkSetDown(f.owner.link("eth0"))) }

// fail tells the guard that the owner has failed and is fenced.
func (f *failure) fail() {
	acts := make([]bool, topology.SlotCount)
	for i := range acts {
		acts[i] = true
	}
	f.guard.check(f.guard.filter.SetFailed([]Failed{{ID: f.owner.id, Acts: acts}}))
}

func (f *failure) connect(vip netip.Addr) net.Conn {
	f.t.Helper()
	conn, err := f.dial(vip, 0)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, f.explain())
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

func (f *failure) expectName(conn net.Conn, want *node) {
	f.t.Helper()
	if got, err := ask(conn); err != nil || got != want.name {
		f.t.Fatalf("%q, %v; want %s\n%s", got, err, want.name, f.explain())
	}
}

func (f *failure) expectReset(conn net.Conn) {
	f.t.Helper()
	_, err := ask(conn)
	requireIs(f.t, err, unix.ECONNRESET)
}

// record waits for the guard's record of the owner's only connection.
func (f *failure) record(what string, fits func(Guarded) bool) (g Guarded) {
	f.t.Helper()
	waitFor(f.t, what, func() bool {
		all, err := f.guard.filter.Guarded(f.owner.id)
		f.guard.check(err)
		if len(all) == 1 {
			g = all[0]
		}
		return len(all) == 1 && fits(g)
	})
	return g
}

// A client that speaks to a dead owner is reset, others' clients are not.
func TestTalkingOrphansAreReset(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	failures(t, func(t *testing.T, f *failure, vip netip.Addr) {
		orphan := f.connect(vip)
		f.expectName(orphan, f.owner)
		f.onlyPick(f.scheduler)
		kept := f.connect(vip)
		f.expectName(kept, f.scheduler)
		f.crash()
		f.fail()
		f.expectReset(orphan)
		f.expectName(kept, f.scheduler)
		f.expectName(f.connect(vip), f.scheduler)
	})
}

// A client that only listens: what the record says is enough to provoke the ACK
// that is answered by the RST.
func TestSilentOrphanIsResetAfterAProbe(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	failures(t, func(t *testing.T, f *failure, vip netip.Addr) {
		orphan := f.connect(vip)
		f.expectName(orphan, f.owner)
		f.expectName(orphan, f.owner)
		// The answers are 6 bytes; the last ACK may be delayed, so that the record
		// may be one behind.
		g := f.record("the requests seen", func(g Guarded) bool { return g.Data })
		f.crash()
		f.fail()
		f.probe(g)
		_, err := io.ReadAll(orphan)
		requireIs(t, err, unix.ECONNRESET)
	})
}

// probe sends a keep-alive in the owner's stead: one before what the client expects.
func (f *failure) probe(g Guarded) {
	f.t.Helper()
	tcp := layers.TCP{
		SrcPort: layers.TCPPort(g.Flow.VIP.Port()), DstPort: layers.TCPPort(g.Flow.Client.Port()),
		ACK: true, Seq: g.Ack - 1, Ack: g.Seq, Window: 501,
	}
	if g.HasTS {
		tcp.Options = []layers.TCPOption{nop, nop, optionTimestamps(g.TSEcr, g.TSVal)}
	}
	e := envelope{from: g.Flow.VIP.Addr(), to: g.Flow.Client.Addr(), fromMAC: clusterMAC, toMAC: g.ClientMAC[:], ttl: 64}
	f.guard.do(func() {
		iface, err := net.InterfaceByName("eth0")
		f.guard.check(err)
		conn, err := packet.Listen(iface, packet.Raw, unix.ETH_P_ALL, nil)
		f.guard.check(err)
		defer conn.Close()
		_, err = conn.WriteTo(e.tcp(tcp, nil), &packet.Addr{HardwareAddr: g.ClientMAC[:]})
		f.guard.check(err)
	})
}

// A handshake that a dead node was named in is finished by the guard; no matter
// whether its ACK came before or after the failure was known.
func TestYoungConnectionIsAdoptedByTheGuard(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	failures(t, func(t *testing.T, f *failure, vip netip.Addr) {
		f.crash()
		before := f.connect(vip)
		f.record("its ACK", func(g Guarded) bool { return !g.Data })
		f.fail()
		f.expectName(before, f.guard)
		f.expectName(before, f.guard)
		f.expectName(f.connect(vip), f.guard)
		waitFor(t, "the records are gone", func() bool {
			all, err := f.guard.filter.Guarded(f.owner.id, f.guard.id)
			f.guard.check(err)
			return len(all) == 0
		})
	})
}

// A request that the dead node may have got is not run again, unless it may be.
func TestYoungConnectionWithARequest(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	for _, safe := range []bool{false, true} {
		failures(t, func(t *testing.T, f *failure, vip netip.Addr) {
			f.guard.check(f.guard.filter.SetServices([]Service{{
				ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: 80, Policy: topology.LeastConnection, Replay: safe,
			}}))
			f.crash()
			conn := f.connect(vip)
			answer := make(chan error, 1)
			var name string
			go func() {
				var err error
				name, err = ask(conn)
				answer <- err
			}()
			f.record("its request", func(g Guarded) bool { return g.Data })
			f.fail()
			err := <-answer // to the request, sent again by the client's kernel
			if !safe {
				requireIs(t, err, unix.ECONNRESET)
			} else if err != nil || name != f.guard.name {
				t.Fatalf("%q, %v; want %s\n%s", name, err, f.guard.name, f.explain())
			}
		})
	}
}

// A new agent finds the guard's records, whom it acts for, and that its own node has
// stood down.
func TestTakeOverKeepsFailures(t *testing.T) {
	f := newFailure(t, "1")
	orphan := f.connect(vip4)
	f.expectName(orphan, f.owner)
	f.fail()
	f.guard.check(f.guard.filter.SetCleared(41))
	f.owner.check(f.owner.filter.Quiesce())
	for _, n := range []*node{f.guard, f.owner} {
		n.check(n.filter.Close())
		n.takeOver()
	}
	if got, err := f.guard.filter.Cleared(); err != nil || got != 41 {
		t.Errorf("cleared %d, %v; want 41", got, err)
	}
	if f.guard.filter.StoodDown() || !f.owner.filter.StoodDown() {
		t.Errorf("guard and owner stood down: %t, %t; want false, true", f.guard.filter.StoodDown(), f.owner.filter.StoodDown())
	}
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = f.scheduler.id // the table of before, which nobody told the new agent, still counts
	}
	f.guard.check(f.guard.filter.SetSlots(table))
	f.expectReset(orphan)
	if n := f.owner.reason(ReasonStoodDown); n == 0 {
		t.Error("nothing was dropped by the node that stood down")
	}
}

// takeOver is what a new agent does.
func (n *node) takeOver() {
	n.t.Helper()
	dir := filepath.Dir(n.filter.pins)
	var err error
	n.do(func() {
		n.filter, err = Open(Options{PinDir: dir, Interface: "eth0", Tombstones: 16384, SYNRecords: 8192})
	})
	n.check(err)
	n.t.Cleanup(func() { n.filter.Close() })
}

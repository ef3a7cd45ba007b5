// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// The tests of this file run agents whole, but for machine and etcd, in a bubble
// with a clock of its own: time passes when all wait.

// bubble is a cluster of agents.
type bubble struct {
	t      *testing.T
	ctx    context.Context
	store  *state.Memory
	leader state.Leadership
	wires  *segment
}

// inBubble runs a test with the leader's records of testView stored.
func inBubble(t *testing.T, test func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := &bubble{t: t, ctx: ctx, store: state.NewMemory(), wires: &segment{}}
		var err error
		if b.leader, err = b.store.Campaign(ctx, "c1"); err != nil {
			t.Fatal(err)
		}
		b.apply(testView())
		test(b)
		cancel()
		synctest.Wait()
	})
}

func (b *bubble) apply(v state.View) {
	b.t.Helper()
	if _, err := b.leader.Apply(b.ctx, recordsOf(v)...); err != nil {
		b.t.Fatal(err)
	}
}

// recordsOf gives what a leader writes of a View.
func recordsOf(v state.View) []state.Change {
	out := []state.Change{{Record: *v.Cluster}, {Record: *v.Slots}, {Record: *v.Cookie}, {Record: *v.Heartbeat}}
	for _, n := range v.Nodes {
		out = append(out, state.Change{Record: n})
	}
	for _, s := range v.Services {
		out = append(out, state.Change{Record: s})
	}
	return out
}

// member is one agent that runs in the bubble.
type member struct {
	*callLog
	filter   *memoryFilter
	wire     *memoryWire
	registry *prometheus.Registry
	stop     context.CancelFunc
	ended    chan error

	mu    sync.Mutex // guards what follows
	conns []openConn
}

func (m *member) setConns(conns ...openConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = conns
}

// start runs the agent of a node.
func (b *bubble) start(name topology.NodeName, boot uint64) *member {
	m := &member{callLog: &callLog{}, registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	m.filter = newMemoryFilter(m.callLog)
	m.wire = b.wires.plug(m.filter.answer)
	ctx, stop := context.WithCancel(b.ctx)
	m.stop = stop
	about := state.Agent{Schema: state.Schema, Name: name, Incarnation: formatIncarnation(boot), Started: time.Now()}
	cfg := Config{Cluster: "test", Node: name, Store: b.store, Log: slog.New(slog.DiscardHandler), Metrics: m.registry}
	a := assemble(cfg, parts{
		core:      newCore(about, maxFrame, 1),
		open:      func() (filter, error) { return m.filter, m.do("open") },
		host:      memoryHost{m.callLog},
		wire:      m.wire,
		check:     func(context.Context, state.Service) string { return "" },
		survey:    func([]netip.AddrPort) ([]string, error) { return nil, nil },
		here:      m.filter.here,
		monotonic: monotonic,
		destroy:   func(vips []netip.Addr) (int, error) { return 3, m.do("destroy %v", vips) },
		dump: func(map[netip.AddrPort]connService) ([]openConn, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return slices.Clone(m.conns), nil
		},
	})
	go func() { m.ended <- errors.Join(a.run(ctx), a.close()) }()
	return m
}

// pass lets time go by.
func (b *bubble) pass(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func (b *bubble) view() state.View {
	b.t.Helper()
	v, err := b.store.View(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bubble) wantListed(m *member, want ...topology.NodeID) {
	b.t.Helper()
	if diff := cmp.Diff(want, m.filter.listedFor(0), cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("load table (-want +got):\n%s", diff)
	}
}

func TestAnAgentComesUp(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.pass(500 * time.Millisecond)
		want := []string{
			"open", "self 1 scale 7", "cookies 9", "members [1]",
			"sysctls", "remove-vips-but [10.77.0.1 fd77::1]", "services [0]", "add-vips [10.77.0.1 fd77::1]",
			"speculation off=false delay=20ms", "slots 1024", "loads 0 [1]",
		}
		got := m.take()
		watches := func(call string) bool { return call == "suspected []" } // before the loads or after
		if !slices.ContainsFunc(got, watches) {
			t.Error("the suspicions of an earlier agent stay")
		}
		if diff := cmp.Diff(want, slices.DeleteFunc(got, watches)); diff != "" {
			t.Errorf("done to the kernel (-want +got):\n%s", diff)
		}
		agent := b.view().Agents["n1"]
		if agent.SlotEpoch != 4 || !agent.Services["web"].Healthy || len(agent.Warnings) > 0 {
			t.Errorf("record is %+v", agent)
		}
	})
}

func TestNothingIsOpenedForAStranger(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n9", 900)
		b.pass(time.Minute)
		if calls := m.take(); len(calls) > 0 {
			t.Errorf("done to the kernel: %q", calls)
		}
		if w := b.view().Agents["n9"].Warnings; len(w) != 1 || !strings.Contains(w[0], "waiting for the controller") {
			t.Errorf("warnings %q", w)
		}
	})
}

func TestAgentsHearEachOther(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(time.Second)
		b.wantListed(m1, 1, 2)
		b.wantListed(m2, 2, 1)
		m2.wire.setCut(true) // as if the machine had died
		b.pass(450 * time.Millisecond)
		b.wantListed(m1, 1)
		b.wantListed(m2, 2)
		m2.wire.setCut(false)
		b.pass(150 * time.Millisecond)
		b.wantListed(m1, 1, 2)
	})
}

func TestAnAgentThatStopsIsNotPickedAtOnce(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(time.Second)
		m2.take()
		m2.stop()
		if err := <-m2.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		b.pass(loadsEvery)
		b.wantListed(m1, 1)
		if calls := m2.take(); len(calls) > 0 || !m2.filter.closed {
			t.Errorf("done to the kernel at the end: %q; closed is %t", calls, m2.filter.closed)
		}
		if _, there := b.view().Agents["n2"]; there {
			t.Error("the agent's record is still there")
		}
		b.start("n2", 200)
		b.pass(500 * time.Millisecond)
	})
}

func TestARestartedAgentIsTakenBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(time.Second)
		m2.stop()
		<-m2.ended
		b.pass(time.Second)
		b.wantListed(m1, 1)
		b.start("n2", 201) // another boot: its sequence begins anew
		b.pass(500 * time.Millisecond)
		b.wantListed(m1, 1, 2)
	})
}

func TestLoadsAreWrittenSparingly(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1 := b.start("n1", 100)
		others := []*member{b.start("n2", 200)}
		b.pass(time.Second)
		const calming = 200            // 400 ms, until the idle time before is forgotten
		for i := range calming + 500 { // one heartbeat each 2 ms, each with another load
			if i == calming {
				m1.take()
			}
			h := heartbeat{Node: 2, Incarnation: 200, Sequence: 1 << 40, Services: []serviceBeat{{Healthy: true, Active: uint32(1000 - i)}}}
			h.Sequence += uint64(i)
			if err := others[0].wire.broadcast(h.encode(testKey, maxFrame)[0]); err != nil {
				t.Fatal(err)
			}
			b.pass(2 * time.Millisecond)
		}
		if n := len(m1.take()); n < 40 || n > 65 { // one each 20 ms, and the own beats
			t.Errorf("%d writes in a second, want about 50", n)
		}
	})
}

func TestEtcdGoesAwayAndComesBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m1, m2 := b.start("n1", 100), b.start("n2", 200)
		b.pass(time.Second)
		m1.take()
		m1.setConns(connOf(1, 11))
		b.store.Interrupt()
		b.pass(30 * time.Second)
		for _, call := range m1.take() {
			if call != "loads 0 [1 2]" && call != "active 0 1" {
				t.Errorf("done to the kernel in the outage: %s", call)
			}
		}
		b.wantListed(m1, 1, 2)
		b.wantListed(m2, 2, 1)
		wantMetric(t, m1, "onevip_agent_etcd_reachable", 0)
		b.store.Restore()
		b.pass(3 * time.Second)
		wantMetric(t, m1, "onevip_agent_etcd_reachable", 1)
		if conns, err := b.store.Conns(b.ctx, "n1", 0); err != nil || len(conns) != 1 {
			t.Errorf("stored after the outage: %v, %v; want the one connection", conns, err)
		}
	})
}

// wantMetric looks at the first series of a gauge or counter.
func wantMetric(t *testing.T, m *member, name string, want float64) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		if got := f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue(); got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
		return
	}
	t.Errorf("no metric %s", name)
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n1 := b.start("n1", 100)
		n1.fail("slots", errors.New("map is full"))
		b.pass(2 * time.Second)
		agent := b.view().Agents["n1"]
		if agent.SlotEpoch != 0 || len(agent.Warnings) != 1 || !strings.Contains(agent.Warnings[0], "set the slots of epoch 4: map is full") {
			t.Errorf("epoch %d, warnings %q", agent.SlotEpoch, agent.Warnings)
		}
		b.wantListed(n1) // who is not whole stays silent
		n1.fail("slots", nil)
		b.pass(2 * time.Second)
		if agent := b.view().Agents["n1"]; agent.SlotEpoch != 4 || len(agent.Warnings) > 0 {
			t.Errorf("epoch %d, warnings %q", agent.SlotEpoch, agent.Warnings)
		}
		n1.fail("loads", errors.New("map is gone"))
		n1.filter.locked(func() { c := n1.filter.counts[0]; c.Active = 7; n1.filter.counts[0] = c })
		b.pass(time.Second)
		n1.fail("loads", nil)
		b.pass(200 * time.Millisecond)
		if table := n1.filter.loads[0]; len(table) != 1 || table[0].Active == 0 {
			t.Errorf("load table is %+v", table)
		}
	})
}

func TestConnectionsReachTheStore(t *testing.T) {
	inBubble(t, func(b *bubble) {
		gone := storedConn(9, time.Now().Add(-time.Hour))
		if err := b.store.PutConns(b.ctx, []state.Conn{gone}); err != nil {
			t.Fatal(err)
		}
		m := b.start("n1", 100)
		m.setConns(connOf(1, 11), connOf(2, 12))
		b.pass(4 * time.Second)
		b.wantStored() // the earlier agent's is not there any more, the new ones are young
		m.setConns(connOf(1, 11))
		b.pass(5 * time.Second)
		b.wantStored(1)
		m.setConns()
		b.pass(2 * time.Second)
		b.wantStored()
		if !slices.Contains(m.take(), "active 0 2") {
			t.Error("the count of active connections was not corrected")
		}
	})
}

func (b *bubble) wantStored(ports ...uint16) {
	b.t.Helper()
	conns, err := b.store.Conns(b.ctx, "n1", 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var got []uint16
	for _, c := range conns {
		got = append(got, c.Client.Port())
	}
	if diff := cmp.Diff(ports, got, cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("stored connections (-want +got):\n%s", diff)
	}
}

func TestConnectionsAreWrittenNoFasterThanAllowed(t *testing.T) {
	inBubble(t, func(b *bubble) { // at most 100 a second
		m := b.start("n1", 100)
		var conns []openConn
		for port := range uint16(450) {
			conns = append(conns, connOf(port+1, uint64(port)+1))
		}
		m.setConns(conns...)
		stored := 0
		for range 11 {
			b.pass(time.Second)
			all, err := b.store.Conns(b.ctx, "n1", 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(all)-stored > 101 {
				t.Errorf("%d written in a second, want at most 100", len(all)-stored)
			}
			stored = len(all)
		}
		if stored != 450 {
			t.Errorf("%d stored in the end, want 450", stored)
		}
	})
}

func TestMetricsComeAndGo(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.pass(2 * time.Second)
		wantMetric(t, m, "onevip_packets_total", 3)
		wantMetric(t, m, "onevip_agent_slot_epoch", 4)
		m.stop()
		<-m.ended
		if families, _ := m.registry.Gather(); len(families) > 0 {
			t.Errorf("%d metrics are left when the agent has ended", len(families))
		}
	})
}

func TestAPulseDoesNotWaitForHeartbeats(t *testing.T) {
	inBubble(t, func(b *bubble) {
		v := testView()
		v.Cluster.HeartbeatInterval = state.Duration(10 * time.Second)
		b.apply(v)
		m := b.start("n1", 100)
		b.pass(time.Second)
		pulses := func() (n int) {
			m.filter.locked(func() { n, m.filter.pulses = m.filter.pulses, 0 })
			return n
		}
		pulses()
		b.pass(5 * time.Second)
		if n := pulses(); n != 5 {
			t.Errorf("%d pulses in 5 seconds without a heartbeat, want one each second", n)
		}
	})
}

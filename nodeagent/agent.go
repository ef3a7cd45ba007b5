// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
)

const (
	// loadsEvery spaces the writes of load tables that heartbeats cause.
	loadsEvery = 20 * time.Millisecond
	// surveyEvery spaces the preflight's looks at a running node.
	surveyEvery = 10 * time.Second
	// reopenAfter spaces the attempts to load the programs: each costs the
	// verifier's time.
	reopenAfter = 10 * time.Second
)

// agent is the thin loop around core: it waits for events, asks core, and does
// what core says. Its fields belong to the goroutine of loop, channels and
// metrics excepted.
type agent struct {
	parts
	store     state.Store
	log       *slog.Logger
	metrics   *metrics
	register  func(*metrics) (func(), error)
	installer *installer
	checkers  *checkers
	guard     *guard
	sets      *localities
	resend    atomic.Int64 // deputy.pace
	// beside runs work that ends with ctx, and is waited for.
	beside func(work func(ctx context.Context))

	events   chan event       // from checks and survey
	frames   chan []byte      // from the wire
	records  chan state.Agent // to the store
	rules    chan connRules   // to the connections' writer
	surveyed chan []netip.AddrPort

	queue     []event // step is at the first
	beat      *time.Ticker
	interval  time.Duration // of beat; 0: not known yet
	watch     *time.Ticker  // looksPerInterval in an interval
	loads     *time.Timer   // runs while loadsSoon
	loadsSoon bool
	lastLoads time.Time

	want    *tables   // not nil: the last install failed
	retryAt time.Time // when to try again
	blind   bool      // counts can't be read: said once
	mute    bool      // heartbeats can't be sent: said once
	stale   bool      // loads can't be written: said once

	suspects *setSuspected // not nil: could not be written, to be tried again
}

// parts are what an agent is made of, on a real machine or in a test.
type parts struct {
	core  *core
	open  func() (filter, error)
	host  host
	wire  wire
	check func(context.Context, state.Service) string
	dump  func(map[netip.AddrPort]connService) ([]openConn, error)
	// destroy ends all connections of addresses and tells how many there were.
	destroy func([]netip.Addr) (int, error)
	// here gives those connections, mapped to true, that have a socket on this node.
	here   func([]bpf.Flow) (map[bpf.Flow]bool, error)
	survey func([]netip.AddrPort) ([]string, error)
	// monotonic is the clock of the filter: bpf.Now.
	monotonic func() (time.Duration, error)
}

func assemble(cfg Config, p parts) *agent {
	events, m := make(chan event, 16), newMetrics()
	a := &agent{
		parts: p, store: cfg.Store, log: cfg.Log, metrics: m,
		guard:     newGuard(cfg, p, m),
		sets:      newLocalities(cfg, p, m, events),
		register:  func(m *metrics) (func(), error) { return m.register(cfg.Metrics) },
		installer: &installer{open: p.open, host: p.host},
		checkers:  &checkers{check: p.check, results: events},
		events:    events,
		frames:    make(chan []byte, 1024),
		records:   make(chan state.Agent),
		rules:     make(chan connRules, 1),
		surveyed:  make(chan []netip.AddrPort, 1),
	}
	a.resend.Store(int64(resendEvery))
	return a
}

// run works until ctx ends or something is lost for good.
func (a *agent) run(ctx context.Context) error {
	unregister, err := a.register(a.metrics)
	if err != nil {
		return err
	}
	defer unregister()
	a.metrics.etcdReachable.Set(1)
	g, ctx := errgroup.WithContext(ctx)
	a.beside = func(work func(context.Context)) { g.Go(func() error { work(ctx); return nil }) }
	g.Go(func() error { return a.store.KeepAgent(ctx, a.records) })
	g.Go(func() error { return a.wire.receive(ctx, a.takeFrame) })
	g.Go(func() error { return a.surveyor(ctx) })
	g.Go(func() error { a.loop(ctx); return nil })
	return g.Wait()
}

// close lets go of wire and filter; the programs stay attached.
func (a *agent) close() error {
	err := a.wire.close()
	if a.installer.filter != nil {
		err = errors.Join(err, a.installer.filter.Close())
	}
	return err
}

// begin starts what works beside the loop, once there is a filter.
func (a *agent) begin(f filter) {
	conns := &connWriter{store: a.store, filter: f, log: a.log, metrics: a.metrics, dump: a.dump, rules: a.rules}
	deputy := &deputy{filter: f, wire: a.wire, log: a.log, metrics: a.metrics, events: a.events, guard: a.guard, pace: &a.resend}
	a.beside(conns.run)
	a.beside(func(ctx context.Context) { a.guard.run(ctx, f) })
	a.beside(func(ctx context.Context) { a.sets.run(ctx, f) })
	a.beside(deputy.run)
	a.beside(deputy.resend)
}

// takeFrame hands a frame to the loop. It never waits: a flood of frames may
// cost heartbeats, but not memory.
func (a *agent) takeFrame(frame []byte) {
	select {
	case a.frames <- frame:
	default:
		a.metrics.frameOverflow.Inc()
	}
}

// surveyor looks at the machine now and then, beside the loop.
func (a *agent) surveyor(ctx context.Context) error {
	var services []netip.AddrPort
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		warnings, err := a.survey(services)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case a.events <- surveyed{warnings}:
		}
		select {
		case <-ctx.Done():
			return nil
		case services = <-a.surveyed:
		case <-tick.C:
		}
	}
}

// loop is where events come together.
func (a *agent) loop(ctx context.Context) {
	updates := a.store.Watch(ctx)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	a.beat, a.watch, a.loads = time.NewTicker(time.Hour), time.NewTicker(time.Hour), time.NewTimer(time.Hour)
	defer a.beat.Stop()
	defer a.watch.Stop()
	defer a.loads.Stop()
	defer a.checkers.end()
	a.step(ctx, reportDue{})
	for {
		select {
		case <-ctx.Done():
			a.step(ctx, stopping{})
			return
		case u, ok := <-updates:
			if !ok {
				updates = nil // ctx has ended
				continue
			}
			a.onUpdate(ctx, u)
		case frame := <-a.frames:
			a.onFrame(ctx, frame)
		case ev := <-a.events:
			a.step(ctx, ev)
		case <-a.beat.C:
			a.hearAll(ctx)
			a.step(ctx, beatDue{a.counts()})
		case <-a.watch.C:
			a.hearAll(ctx)
			a.step(ctx, watchDue{})
		case <-a.loads.C:
			a.loadsSoon, a.lastLoads = false, time.Now()
			a.step(ctx, loadsDue{a.counts()})
		case <-second.C:
			a.retryInstall(ctx)
			a.retrySuspected()
			a.step(ctx, reportDue{a.violations()})
		}
	}
}

// hearAll takes the frames that wait: nobody is silent whose heartbeat is here.
func (a *agent) hearAll(ctx context.Context) {
	for range len(a.frames) {
		a.onFrame(ctx, <-a.frames)
	}
}

// onUpdate follows the store, and the interval that it says for heartbeats.
func (a *agent) onUpdate(ctx context.Context, u state.Update) {
	for _, gone := range a.metrics.kernel.setNames(u.View) {
		a.metrics.dropService(gone)
	}
	if u.Err == nil {
		a.guard.see(u.View)
		a.sets.see(u.View)
	}
	a.step(ctx, viewChanged{u})
	if u.View.Cluster == nil {
		return
	}
	if every := time.Duration(u.View.Cluster.HeartbeatInterval); every != a.interval && every > 0 {
		a.interval = every
		a.beat.Reset(every)
		a.watch.Reset(every / looksPerInterval)
	}
}

// step asks core about an event and does what it says. Events that come of doing
// it wait until all is done: what core said before it knew of them is older.
func (a *agent) step(ctx context.Context, ev event) {
	a.queue = append(a.queue, ev)
	if len(a.queue) > 1 {
		return // called by do
	}
	for ; len(a.queue) > 0; a.queue = a.queue[1:] {
		for _, act := range a.core.Step(time.Now(), a.queue[0]) {
			a.do(ctx, act)
		}
	}
}

// counts reads the kernel's totals; that they can't be read is said once.
func (a *agent) counts() counts {
	out, err := a.installer.counts()
	if err != nil && !a.blind {
		a.log.Error("the counts of connections can not be read: this node stays silent about the services", "err", err)
	}
	a.blind = err != nil
	return out
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// storeDeadline bounds what a guard asks of the store at once: all connections that a
// node had, at most.
const storeDeadline = 30 * time.Second

// guardFilter is what a guard needs of the programs.
type guardFilter interface {
	SetFailed([]bpf.Failed) error
	Guarded(owners ...topology.NodeID) ([]bpf.Guarded, error)
	GuardedFlows(flows []bpf.Flow) (map[bpf.Flow]bpf.Guarded, error)
	Condemn(flows []bpf.Flow, owner topology.NodeID) error
	Question(bpf.Question) ([]byte, error)
}

// guard is the thin loop around guardCore. It runs beside the agent's own: reading
// many records delays no heartbeat, and a sweep waits for nothing else. Its fields
// belong to the goroutine of run, channels and metrics excepted.
type guard struct {
	core    *guardCore
	store   state.Store
	wire    wire
	log     *slog.Logger
	metrics *metrics
	from    topology.MAC

	views   chan state.View // the newest counts
	strays  chan bpf.Flow
	answers chan bpf.Answer
	results chan guardEvent // of what is done in the background

	// here gives those connections, mapped to true, that have a socket on this node.
	here   func([]bpf.Flow) (map[bpf.Flow]bool, error)
	filter guardFilter
	queue  []guardEvent   // step is at the first
	behind sync.WaitGroup // what is done in the background
}

func newGuard(cfg Config, p parts, m *metrics) *guard {
	about := p.core.about
	nonce := uint64(time.Now().UnixNano()) // an earlier agent's answers must not count
	return &guard{
		core: newGuardCore(about.Name, about.MAC, nonce), store: cfg.Store,
		wire: p.wire, here: p.here, log: cfg.Log, metrics: m, from: about.MAC,
		views: make(chan state.View, 1), strays: make(chan bpf.Flow, 1024), answers: make(chan bpf.Answer, 4096),
		results: make(chan guardEvent, 16),
	}
}

// see takes what the store delivered. Only one goroutine may call it.
func (g *guard) see(v state.View) { offer(g.views, v) }

// notice takes the filter's word that a client talks on a connection whose owner it
// does not know. It never waits: the filter says so again when the client does.
func (g *guard) notice(flow bpf.Flow) {
	select {
	case g.strays <- flow:
	default:
		g.metrics.strays.WithLabelValues(string(outcomeOverflow)).Inc()
	}
}

// hear takes an answer to a who-has. It never waits: what is lost is asked again.
func (g *guard) hear(a bpf.Answer) {
	select {
	case g.answers <- a:
	default:
		g.metrics.frameOverflow.Inc()
	}
}

// run works until ctx ends.
func (g *guard) run(ctx context.Context, f guardFilter) {
	g.filter = f
	defer g.behind.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-g.views:
			g.step(ctx, guardView{v})
		case flow := <-g.strays:
			g.step(ctx, strayNoticed{flow})
		case a := <-g.answers:
			g.step(ctx, nodeAnswered{a})
		case ev := <-g.results:
			g.step(ctx, ev)
		case <-timer.C:
			g.step(ctx, paced{})
		}
		if at := g.core.next(time.Now()); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
	}
}

// step asks core about an event and does what it says, then what comes of that.
func (g *guard) step(ctx context.Context, ev guardEvent) {
	g.queue = append(g.queue, ev)
	for ; len(g.queue) > 0; g.queue = g.queue[1:] {
		for _, act := range g.core.Step(time.Now(), g.queue[0]) {
			g.do(ctx, act)
		}
	}
}

func (g *guard) do(ctx context.Context, act guardAction) {
	switch act := act.(type) {
	case setFailed:
		if err := g.filter.SetFailed(act.failed); err != nil {
			g.metrics.tableErrors.Inc()
			g.log.Error("failed nodes are not known to the filter: their connections are not reset", "err", err)
			g.queue = append(g.queue, failedNotSet{})
		}
	case readRecords:
		records, err := g.filter.Guarded(act.owners...)
		g.queue = append(g.queue, recordsRead{act.epoch, records, err})
	case lookAgain:
		g.queue = append(g.queue, g.look(act.findings))
	case probe:
		g.probe(act.records)
	case ask:
		g.ask(act.questions)
	case attribute:
		if err := g.attribute(act); err != nil {
			g.metrics.tableErrors.Inc()
			g.log.Error("owners of connections can not be written", "owner", act.owner, "err", err)
		}
	case readConns:
		g.inBackground(ctx, func(ctx context.Context) guardEvent {
			conns, err := g.store.Conns(ctx, act.node, 0)
			return connsRead{act.epoch, conns, err}
		})
	case deleteConns:
		g.inBackground(ctx, func(ctx context.Context) guardEvent {
			return connsDeleted{act.epoch, act.conns, g.store.DropConns(ctx, act.conns)}
		})
	case countStray:
		g.metrics.strays.WithLabelValues(string(act.as)).Inc()
	case say:
		g.log.Log(ctx, act.level, act.message, act.args...)
	}
}

func (g *guard) look(findings []finding) lookedAgain {
	flows := make([]bpf.Flow, 0, len(findings))
	for _, v := range findings {
		flows = append(flows, v.flow)
	}
	records, err := g.filter.GuardedFlows(flows)
	return lookedAgain{findings, records, err}
}

// attribute writes whose connections these are. What this node has itself by now is
// nobody else's, whatever the others say: it adopted it, or the client has used its
// port again.
func (g *guard) attribute(act attribute) error {
	here, err := g.here(act.flows)
	if err != nil {
		return err
	}
	g.metrics.strays.WithLabelValues(string(outcomeHere)).Add(float64(len(here)))
	flows := slices.DeleteFunc(slices.Clone(act.flows), func(f bpf.Flow) bool { return here[f] })
	if len(flows) == 0 {
		return nil
	}
	return g.filter.Condemn(flows, act.owner)
}

// inBackground does what waits for the store, and tells core of it.
func (g *guard) inBackground(ctx context.Context, do func(context.Context) guardEvent) {
	g.behind.Go(func() {
		limited, cancel := context.WithTimeout(ctx, storeDeadline)
		defer cancel()
		ev := do(limited)
		select {
		case g.results <- ev:
		case <-ctx.Done():
		}
	})
}

// probe sends keep-alive probes. One that is lost is sent again in the next round.
func (g *guard) probe(records []bpf.Guarded) {
	for _, r := range records {
		if err := g.probeOne(r); err == nil {
			g.metrics.probes.Inc()
		} else {
			g.metrics.probesFailed.Inc()
		}
	}
}

func (g *guard) probeOne(r bpf.Guarded) error {
	if !isNumbered(r) {
		packet, err := blindProbe(r.Flow, rand.Uint32(), rand.Uint32())
		if err != nil {
			return err
		}
		return g.wire.route(packet, r.Flow.Client.Addr())
	}
	frame, err := keepAlive(r, g.from)
	if err != nil {
		return err
	}
	return g.wire.send(frame)
}

func (g *guard) ask(questions []bpf.Question) {
	for _, q := range questions {
		frame, err := g.filter.Question(q)
		if err == nil {
			err = g.wire.send(frame)
		}
		if err == nil {
			g.metrics.asked.Inc()
		} else {
			g.metrics.askFailed.Inc()
		}
	}
}

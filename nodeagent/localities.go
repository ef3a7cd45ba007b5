// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const (
	localityPeriod   = time.Second     // between two looks, so that localityRate is kept
	localityDeadline = 5 * time.Second // of one write into the store
)

// localityFilter is what localities need of the programs.
type localityFilter interface {
	Buckets(topology.ServiceID) ([]bpf.Bucket, error)
	SetBuckets(topology.ServiceID, []bpf.Bucket) error
	// Sample is a key that fell into a bucket; empty: none may be shown.
	Sample(service topology.ServiceID, bucket uint16) (string, error)
}

// localities is the thin loop around localityCore: once a second it brings sets from the
// filter to the store and back, and now and then it says what was asked for. It runs
// beside the agent's loop: a slow store delays no heartbeat.
type localities struct {
	core    *localityCore
	store   state.Store
	filter  localityFilter
	log     *slog.Logger
	metrics *metrics
	// monotonic is the clock of the filter: bpf.Now.
	monotonic func() (time.Duration, error)
	views     chan state.View // the newest counts
	events    chan<- event
	seen      seenBook
	seenAt    time.Time // when to say it again
	failing   bool      // the last pass failed: said once
}

func newLocalities(cfg Config, p parts, m *metrics, events chan<- event) *localities {
	return &localities{
		core: newLocalityCore(p.core.about.Name), store: cfg.Store, log: cfg.Log, metrics: m,
		monotonic: p.monotonic, views: make(chan state.View, 1), events: events, seen: seenBook{},
	}
}

// see takes what the store delivered. Only one goroutine may call it.
func (l *localities) see(v state.View) { offer(l.views, v) }

// run works until ctx ends.
func (l *localities) run(ctx context.Context, f localityFilter) {
	l.filter = f
	tick := time.NewTicker(localityPeriod)
	defer tick.Stop()
	var view *state.View
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-l.views:
			view = &v
		case <-tick.C:
			if view != nil && view.Cluster != nil {
				l.say(ctx, l.pass(ctx, *view))
			}
		}
	}
}

// say logs when passes begin to fail and when they succeed again.
func (l *localities) say(ctx context.Context, err error) {
	failed := err != nil && ctx.Err() == nil
	if failed && !l.failing {
		l.log.Warn("sets of nodes are not shared: each node that inspects goes by its own", "err", err)
	}
	if err == nil && l.failing {
		l.log.Info("sets of nodes are shared again")
	}
	l.failing = failed
}

// pass brings kernel and store nearer to each other. What fails is tried again in the next
// one; the kernel's part does not wait for the store's.
func (l *localities) pass(ctx context.Context, v state.View) error {
	monotonic, err := l.monotonic()
	if err != nil {
		return err
	}
	t := clocks{time.Now(), monotonic}
	l.core.follow(v)
	l.seen.keep(v)
	var errs []error
	for name, s := range v.Services {
		if s.Policy.Inspects() {
			errs = append(errs, l.look(t, s))
		}
		if s.Policy != topology.Locality {
			l.metrics.localitySets.DeleteLabelValues(string(name))
		}
	}
	if !t.wall.Before(l.seenAt) {
		l.seenAt = t.wall.Add(seenEvery)
		errs = append(errs, l.tell(ctx))
	}
	return errors.Join(append(errs, l.write(ctx, t.wall))...)
}

// look reads what a service's requests led to, and corrects its sets.
func (l *localities) look(t clocks, s state.Service) error {
	buckets, err := l.filter.Buckets(s.ID)
	if err != nil {
		return err
	}
	l.seen.take(t.wall, s, buckets)
	if s.Policy != topology.Locality {
		return nil // it has no sets
	}
	writes := l.core.look(t, s.Name, buckets)
	l.metrics.localitySets.WithLabelValues(string(s.Name)).Set(float64(l.core.sets(s.Name)))
	if len(writes) == 0 {
		return nil
	}
	if err := l.filter.SetBuckets(s.ID, writes); err != nil {
		l.core.forget(s.Name)
		return err
	}
	return nil
}

// write stores as much as may be stored in a second.
func (l *localities) write(ctx context.Context, now time.Time) error {
	sets := l.core.due(now, localityRate)
	if len(sets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, localityDeadline)
	defer cancel()
	if err := l.store.PutLocalities(ctx, sets); err != nil {
		return fmt.Errorf("store %d sets: %w", len(sets), err)
	}
	l.core.wrote(now, sets)
	l.metrics.localityWritten.Add(float64(len(sets)))
	return nil
}

// tell gives what was asked for to the loop, which has it in the node's record.
func (l *localities) tell(ctx context.Context) error {
	seen, err := l.seen.records(l.filter.Sample)
	if err != nil {
		return err
	}
	select {
	case l.events <- requestsSeen{seen}:
	case <-ctx.Done():
	}
	return nil
}

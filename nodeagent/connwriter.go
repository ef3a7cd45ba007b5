// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const (
	connPeriod   = time.Second     // between two dumps
	connDeadline = 5 * time.Second // of one pass of writes
)

// connWriter looks at the kernel's connections once a second, stores those that
// are old enough, and keeps the filter's running count of them true. It runs
// beside the loop: a slow store or a big dump delays no heartbeat.
type connWriter struct {
	store   state.Store
	filter  filter
	log     *slog.Logger
	metrics *metrics
	dump    func(map[netip.AddrPort]connService) ([]openConn, error)
	rules   <-chan connRules // the newest counts

	table    *connTable
	recalled bool // what an earlier agent stored is in the table
	limiter  *rate.Limiter
	drifts   map[topology.ServiceID]*drift
	failing  bool // the last pass failed: said once
}

// run works until ctx ends.
func (w *connWriter) run(ctx context.Context) {
	w.table, w.drifts = newConnTable(), map[topology.ServiceID]*drift{}
	tick := time.NewTicker(connPeriod)
	defer tick.Stop()
	var rules *connRules
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-w.rules:
			rules = &r
		case <-tick.C:
			if rules != nil && !rules.paused {
				w.say(ctx, w.pass(ctx, *rules))
			}
		}
	}
}

// say logs when passes begin to fail and when they succeed again.
func (w *connWriter) say(ctx context.Context, err error) {
	failed := err != nil && ctx.Err() == nil
	if failed && !w.failing {
		w.log.Warn("connections are not recorded", "err", err)
	}
	if err == nil && w.failing {
		w.log.Info("connections are recorded again")
	}
	w.failing = failed
}

// pass takes one dump and brings the store and the counts nearer to it.
func (w *connWriter) pass(ctx context.Context, rules connRules) error {
	before := w.actives(rules)
	open, err := w.dump(rules.services)
	if err != nil {
		return err
	}
	w.correct(rules, before, open)
	now := time.Now()
	w.table.observe(now, open, rules)
	ctx, cancel := context.WithTimeout(ctx, connDeadline)
	defer cancel()
	err = w.write(ctx, now, rules)
	w.metrics.showConns(w.table.stored(now, rules.minAge))
	return err
}

// write stores and deletes as much as the rate allows.
func (w *connWriter) write(ctx context.Context, now time.Time, rules connRules) error {
	if !w.recalled {
		stored, err := w.store.Conns(ctx, rules.node, 0)
		if err != nil {
			return fmt.Errorf("read what is stored: %w", err)
		}
		w.table.recall(stored)
		w.recalled = true
		return nil // the next dump tells which of them are there
	}
	puts, gone := w.table.due(now, w.allowance(now, rules.maxRate), rules)
	w.limiter.AllowN(now, len(puts)+len(gone))
	if len(gone) > 0 {
		if err := w.store.DeleteConns(ctx, gone); err != nil {
			return fmt.Errorf("delete %d connections: %w", len(gone), err)
		}
		w.table.deleted(gone)
	}
	if len(puts) > 0 {
		err := w.store.PutConns(ctx, puts)
		w.table.put(puts, err != nil)
		if err != nil {
			return fmt.Errorf("store %d connections: %w", len(puts), err)
		}
	}
	w.metrics.connsWritten.Add(float64(len(puts) + len(gone)))
	return nil
}

// allowance is how many records may be written now: a token bucket of a
// second's worth.
func (w *connWriter) allowance(now time.Time, perSecond int) int {
	if w.limiter == nil || w.limiter.Burst() != perSecond {
		w.limiter = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return max(0, int(w.limiter.TokensAt(now)))
}

// actives reads the running counts; services that can't be read are missing.
func (w *connWriter) actives(rules connRules) map[topology.ServiceID]uint32 {
	out := map[topology.ServiceID]uint32{}
	for _, s := range rules.services {
		if n, err := w.filter.Counts(s.id); err == nil {
			out[s.id] = n.Active
		}
	}
	return out
}

// correct sets running counts that went astray.
func (w *connWriter) correct(rules connRules, before map[topology.ServiceID]uint32, open []openConn) {
	dumped := map[topology.ServiceID]uint32{}
	for _, c := range open {
		dumped[rules.services[c.vip].id]++
	}
	for id, after := range w.actives(rules) {
		if w.drifts[id] == nil {
			w.drifts[id] = &drift{}
		}
		if !w.drifts[id].judge(before[id], after, dumped[id]) {
			continue
		}
		if err := w.filter.SetActive(id, dumped[id]); err != nil {
			w.log.Warn("the count of active connections is wrong and could not be set", "service_id", id, "err", err)
			continue
		}
		w.log.Info("corrected the count of active connections", "service_id", id, "counted", after, "there", dumped[id])
	}
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// resignTimeout bounds the farewell to etcd.
const resignTimeout = 2 * time.Second

// Config is what a controller is made from.
type Config struct {
	// Cluster is the configuration. All controllers have the same, but for the
	// switches' Target: each names itself there, and the leader sets it.
	Cluster topology.Cluster
	// Name of this controller in the election. Each has its own.
	Name  string
	Store state.Store
	Log   *slog.Logger // nil: slog.Default()
	// Metrics gets onevip_controller_*; nil: nobody.
	Metrics prometheus.Registerer
}

// Run campaigns, leads when elected, and campaigns again when the leadership is
// lost, until ctx ends; then it resigns and returns nil. The switches keep their
// flows. An error means that leading is not possible here: the address for
// switches is taken, the configuration is broken.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return run(ctx, cfg, openVSwitch{log: cfg.Log})
}

func run(ctx context.Context, cfg Config, fabric fabric) error {
	if cfg.Name == "" {
		return errors.New("the controller has no name: each in a cluster needs its own")
	}
	if _, err := trunksFor(cfg.Cluster, nil); err != nil {
		return err
	}
	l := &loop{Config: cfg, fabric: fabric, random: rand.Reader, metrics: newMetrics()}
	unregister, err := l.metrics.register(cfg.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	defer unregister()
	return l.run(ctx)
}

// loop is one controller at work. It is for one goroutine.
type loop struct {
	Config
	fabric  fabric
	random  io.Reader
	metrics *metrics

	updates   <-chan state.Update
	stopWatch context.CancelFunc
	last      state.Update
	seen      bool // last is of the present watch

	running    sync.WaitGroup        // campaigns
	won        chan state.Leadership // not nil while campaigning
	leadership state.Leadership      // nil: not leading
	floor      int64                 // revision of the View that a decision needs

	desk   *desk  // not nil while the switches are served
	served uint64 // term under which they are
	told   int64  // revision of the View that the desk has

	next    time.Time // of the next decision
	retryAt time.Time // no decision before, after a failed write
	loadsAt time.Time
	warned  map[Warning]bool
	said    string // last failure of a write
}

func (l *loop) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.end()
	defer cancel()
	l.watch(ctx)
	l.campaign(ctx)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-l.updates:
			l.see(u)
		case leadership := <-l.won:
			l.lead(leadership)
		case <-l.lost():
			l.loseLead()
			l.campaign(ctx)
		case err := <-l.deskFailed():
			return err
		case <-timer.C:
			l.next = time.Time{}
		}
		if err := l.act(ctx); err != nil {
			return err
		}
		timer.Reset(l.pause())
	}
}

// watch begins to watch, anew if it did before: the first View is a full read.
func (l *loop) watch(ctx context.Context) {
	if l.stopWatch != nil {
		l.stopWatch()
	}
	ctx, l.stopWatch = context.WithCancel(ctx)
	l.updates, l.seen = l.Store.Watch(ctx), false
}

// campaign stands for election in the background.
func (l *loop) campaign(ctx context.Context) {
	won := make(chan state.Leadership)
	l.won = won
	l.running.Go(func() {
		leadership, err := l.Store.Campaign(ctx, l.Name)
		if err != nil {
			return // ctx ended
		}
		select {
		case won <- leadership:
		case <-ctx.Done():
			l.resign(leadership)
		}
	})
}

// see takes an update in, and says an outage once, and its end.
func (l *loop) see(u state.Update) {
	if (u.Err == nil) != (l.last.Err == nil) {
		if u.Err != nil {
			l.Log.Error("etcd is out of reach: the last tables stay in force, nothing new is stored", "err", u.Err)
		} else {
			l.Log.Info("etcd is in reach again", "revision", u.View.Revision)
		}
	}
	l.last, l.seen = u, true
	l.metrics.show(u)
}

func (l *loop) lead(leadership state.Leadership) {
	l.won, l.leadership = nil, leadership
	// A View from before the election may lack the last leader's words.
	l.floor = max(l.floor, int64(leadership.Term()))
	l.metrics.leader.Set(1)
	l.Log.Info("this controller leads", "name", l.Name, "term", leadership.Term())
}

// lost is closed when the leadership is.
func (l *loop) lost() <-chan struct{} {
	if l.leadership == nil {
		return nil
	}
	return l.leadership.Done()
}

// loseLead ends the deciding. The switches are served on: whoever leads next
// claims them under a higher term.
func (l *loop) loseLead() {
	l.Log.Warn("this controller leads no more", "name", l.Name, "term", l.leadership.Term())
	l.leadership = nil
	l.metrics.leader.Set(0)
}

func (l *loop) deskFailed() <-chan error {
	if l.desk == nil {
		return nil
	}
	return l.desk.failed
}

// act does what is due.
func (l *loop) act(ctx context.Context) error {
	if l.mayDecide(time.Now()) {
		l.decide(ctx)
	}
	return l.serve(ctx)
}

// mayDecide tells whether the View is one to decide on: of this leader's own
// time, after its own last write, and not after a failure a moment ago.
func (l *loop) mayDecide(now time.Time) bool {
	return l.leadership != nil && l.fresh() && !now.Before(l.retryAt)
}

// fresh tells whether the View shows all that this controller knows was written.
func (l *loop) fresh() bool {
	return l.seen && l.last.Err == nil && l.last.View.Revision >= l.floor
}

// decide writes what Decide says.
func (l *loop) decide(ctx context.Context) {
	fresh, err := l.keys()
	if err != nil {
		l.Log.Error("no random bytes for keys", "err", err)
		l.retryAt = time.Now().Add(retryAfter)
		return
	}
	now := time.Now()
	decision := Decide(Input{Config: l.Cluster, View: l.last.View, Now: now, LoadsAt: l.loadsAt, Fresh: fresh})
	l.next = decision.Next
	l.warn(decision.Warnings)
	if len(decision.Changes) == 0 {
		return
	}
	revision, err := l.leadership.Apply(ctx, decision.Changes...)
	if err != nil {
		l.writeFailed(ctx, err)
		return
	}
	l.said = ""
	l.floor = revision
	l.metrics.changes.Add(float64(len(decision.Changes)))
	for _, event := range decision.Events {
		l.Log.LogAttrs(ctx, event.level(), string(event.Kind), event.attrs()...)
	}
	for _, change := range decision.Changes {
		if _, load := change.Record.(state.Load); load {
			l.loadsAt = now.Add(loadsEvery)
		}
	}
}

// writeFailed looks again at what is stored before it decides again: the write
// may have been done all the same.
func (l *loop) writeFailed(ctx context.Context, err error) {
	l.retryAt = time.Now().Add(retryAfter)
	if ctx.Err() != nil || errors.Is(err, state.ErrNotLeader) {
		return // Done tells
	}
	if !errors.Is(err, state.ErrOutOfReach) && err.Error() != l.said {
		l.said = err.Error()
		l.Log.Error("the state can not be written, trying on", "err", err)
	}
	l.watch(ctx)
}

func (l *loop) keys() (FreshKeys, error) {
	var fresh FreshKeys
	for _, key := range [][]byte{fresh.Heartbeat[:], fresh.Cookie[0][:], fresh.Cookie[1][:], fresh.Cookie[2][:]} {
		if _, err := io.ReadFull(l.random, key); err != nil {
			return FreshKeys{}, err
		}
	}
	return fresh, nil
}

// warn logs what is newly wrong, and what is right again.
func (l *loop) warn(warnings []Warning) {
	now := map[Warning]bool{}
	for _, w := range warnings {
		now[w] = true
		if !l.warned[w] {
			l.Log.Warn(w.Text, "reason", string(w.Reason), "node", string(w.Node))
		}
	}
	for w := range l.warned {
		if !now[w] {
			l.Log.Info("no longer: "+w.Text, "reason", string(w.Reason), "node", string(w.Node))
		}
	}
	l.warned = now
	l.metrics.warnings.Set(float64(len(now)))
}

// serve opens the desk when this controller leads, tells it of news, and closes
// it when another leads.
func (l *loop) serve(ctx context.Context) error {
	if l.anotherLeads() && l.desk != nil {
		l.Log.Info("another controller leads and serves the switches", "leader", l.last.View.Leader, "term", l.last.View.Term)
		l.closeDesk()
	}
	if l.leadership != nil && l.desk == nil && len(l.Cluster.Switches) > 0 {
		desk, err := openDesk(ctx, deskConfig{cluster: l.Cluster, fabric: l.fabric, log: l.Log, metrics: l.metrics})
		if err != nil {
			return err
		}
		l.desk = desk
	}
	l.tellDesk()
	return nil
}

// tellDesk hands a newer View on. Agents' reports do not make it newer, and do
// not concern the switches.
func (l *loop) tellDesk() {
	view := l.last.View
	if l.desk == nil || !l.fresh() || view.Cluster == nil {
		return
	}
	served := l.served
	if l.leadership != nil {
		served = l.leadership.Term()
	}
	if served == l.served && view.Revision == l.told {
		return
	}
	l.served, l.told = served, view.Revision
	l.desk.set(generation(*view.Cluster, served), view)
}

// anotherLeads tells whether etcd is in reach and says so.
func (l *loop) anotherLeads() bool {
	view := l.last.View
	return l.leadership == nil && l.seen && l.last.Err == nil && view.Term > l.served && view.Leader != l.Name
}

func (l *loop) closeDesk() {
	if l.desk != nil {
		l.desk.close()
		l.desk, l.told = nil, 0
	}
}

// pause is the time until something is due.
func (l *loop) pause() time.Duration {
	due := l.next
	if l.retryAt.After(time.Now()) && (due.IsZero() || l.retryAt.After(due)) {
		due = l.retryAt
	}
	if due.IsZero() {
		return time.Hour
	}
	return max(time.Until(due), time.Millisecond)
}

// end hangs up and resigns.
func (l *loop) end() {
	l.closeDesk()
	l.running.Wait()
	if l.leadership != nil {
		l.resign(l.leadership)
	}
}

func (l *loop) resign(leadership state.Leadership) {
	ctx, cancel := context.WithTimeout(context.Background(), resignTimeout)
	defer cancel()
	if err := leadership.Resign(ctx); err != nil {
		l.Log.Warn("resigning failed, the lease runs out by itself", "err", err)
	}
}

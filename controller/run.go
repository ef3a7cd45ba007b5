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
	elected bool // since the last decision that was written
	deaf    bool // nobody heard anybody at the last decision
	deafAt  time.Time
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
		case <-l.deskNews():
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
	l.won, l.leadership, l.elected = nil, leadership, true
	// A View from before the election may lack the last leader's words.
	l.floor = max(l.floor, int64(leadership.Term()))
	if l.desk != nil {
		l.desk.setLeads(true)
	}
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
	if l.desk != nil {
		l.desk.setLeads(false)
	}
	l.metrics.leader.Set(0)
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

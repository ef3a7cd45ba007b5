// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/topology"
)

const (
	// auditEvery is how often a switch's flows are read and put right although
	// nothing is known to have changed.
	auditEvery = 30 * time.Second
	// retryAfter follows a failure.
	retryAfter = time.Second
	// stepTimeout bounds one exchange with a switch.
	stepTimeout = 10 * time.Second
)

// station is what one connected switch is served by. All but poke is for its
// own goroutine.
type station struct {
	desk    *desk
	name    topology.SwitchName
	session session
	log     *slog.Logger
	woken   chan struct{}
	since   time.Time // the switch connected

	claimed   uint64       // generation id under which we are the master; 0: we are not known to be
	intent    ovs.Intent   // last spoken for
	installed ovs.Pipeline // last applied under claimed; empty: nothing yet
	held      bool         // a fence of it is not there, for somebody else's flow holds its place
	said      string       // last failure logged
	speaker   speaker
	silence   context.CancelFunc // stops the speaker

	seen map[string]bool // ports that were up in this session; guarded by desk.mu
}

func newStation(d *desk, name topology.SwitchName, s session) *station {
	st := &station{
		desk: d, name: name, session: s,
		log:     d.log.With("switch", string(name)),
		since:   time.Now(),
		woken:   make(chan struct{}, 1),
		silence: func() {},
		seen:    map[string]bool{},
	}
	st.poke()
	return st
}

// poke has the station look at what it should do. Anybody may call it.
func (s *station) poke() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// run serves until ctx or the session ends.
func (s *station) run(ctx context.Context) {
	defer func() { s.silence() }()
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() { s.watchPorts(ctx) })
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	var retry <-chan time.Time
	for {
		auditing := false
		select {
		case <-ctx.Done():
			return
		case <-s.session.Done():
			return
		case <-s.woken:
		case <-retry:
		case <-audit.C:
			auditing = true
		}
		retry = nil
		if err := s.work(ctx, auditing); err != nil && ctx.Err() == nil {
			s.complain(err)
			retry = time.After(retryAfter)
		}
	}
}

// watchPorts tells of ports at once, whatever the station waits for.
func (s *station) watchPorts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.session.Done():
			return
		case <-s.session.PortsChanged():
			s.desk.tell()
			s.desk.wakeAll() // a link's failure concerns all
		}
	}
}

// complain logs a failure once.
func (s *station) complain(err error) {
	text := err.Error()
	if errors.Is(err, ovs.ErrStaleTerm) {
		text = "the switch has seen a newer leader: another controller programs it, or etcd lost its data while this clock went back; if no other runs, restart ovs-vswitchd"
	}
	if text != s.said {
		s.said = text
		s.log.Error("the switch can not be programmed, trying on", "reason", text, "err", err)
	}
}

// work makes the switch do what it should.
func (s *station) work(ctx context.Context, auditing bool) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout+s.config().Settle)
	defer cancel()
	order, ready := s.desk.wanted(s.name)
	if !ready {
		return nil
	}
	if err := s.claim(ctx, order.generation); err != nil {
		return err
	}
	intent := order.intent
	wanted := ovs.Build(intent, s.session.Ports())
	changed := !reflect.DeepEqual(wanted, s.installed)
	if changed || auditing || s.held {
		if err := s.apply(ctx, wanted, changed); err != nil {
			return err
		}
	}
	// A port that came wants to hear of the VIPs as much as a VIP that came.
	if changed || !reflect.DeepEqual(intent, s.intent) {
		s.intent = intent
		s.speaker.Set(intent)
	}
	if s.held {
		return errFenceHeld
	}
	if err := s.fence(ctx, order); err != nil {
		return err
	}
	s.said = ""
	return nil
}

// claim makes this controller the switch's master, once for each generation id,
// and begins to speak for the VIPs.
func (s *station) claim(ctx context.Context, generation uint64) error {
	if s.claimed == generation {
		return nil
	}
	if err := s.session.Claim(ctx, generation); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	s.setClaimed(generation)
	s.silence()
	speaking, silence := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	speaker := s.session.speaker(s.desk.cluster.Controller.Announce)
	go func() {
		defer close(ended)
		if err := speaker.Run(speaking); speaking.Err() == nil {
			s.log.Debug("the speaker ended", "err", err)
		}
	}()
	s.speaker, s.intent = speaker, ovs.Intent{}
	s.silence = func() {
		silence()
		<-ended
	}
	return nil
}

// setClaimed notes under which generation id this is the master. Before, another
// may have been it, and changed the flows.
func (s *station) setClaimed(generation uint64) {
	s.claimed, s.installed = generation, ovs.Pipeline{}
}

// apply installs a pipeline. What an audit finds, somebody else has done.
func (s *station) apply(ctx context.Context, wanted ovs.Pipeline, changed bool) error {
	applied, err := s.session.Apply(ctx, wanted)
	if errors.Is(err, ovs.ErrNotMaster) {
		s.setClaimed(0)
	}
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s.installed = wanted
	s.held = slices.ContainsFunc(applied.Conflicts, func(f ovs.Flow) bool { return f.Cookie.Kind() == ovs.KindFenced })
	total := 0
	for op, n := range applied.Changes {
		total += n
		s.desk.metrics.flowChanges.WithLabelValues(string(s.name), string(op)).Add(float64(n))
	}
	switch {
	case total > 0 && changed:
		s.log.Info("flows changed", "changes", total, "kept", applied.Kept)
	case total > 0:
		s.log.Warn("flows were missing or altered, and are put right", "changes", total, "kept", applied.Kept)
	}
	if len(applied.Conflicts) > 0 && changed {
		s.log.Warn("flows of somebody else hold the place of ours: remove them", "flows", len(applied.Conflicts), "first", applied.Conflicts[0].String())
	}
	return nil
}

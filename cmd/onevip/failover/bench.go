// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/onevip/onevip/cmd/onevip/labload"
	"github.com/onevip/onevip/labs"
)

// lead is how long a round runs before its fault, tail how long after.
const (
	lead = 1500 * time.Millisecond
	tail = 3500 * time.Millisecond
)

// healLimit bounds what a lab may take to be well again after a round.
const healLimit = time.Minute

// Bench is a run of many rounds.
type Bench struct {
	Lab    string            // to bring up, once for each mode
	Binary string            // of onevip, for the lab's hosts and for the load
	Set    map[string]string // settings of the cluster, by path; for both modes
	Modes  []Mode
	Faults []Fault
	Rounds int  // with each fault, in each mode; as many without one are between them
	Load   Load // For is set by the bench
	Log    *slog.Logger
	Done   func(Round) // after each round; for a progress bar
}

// Total is how many rounds Run makes.
func (b Bench) Total() int { return len(b.Modes) * b.Rounds * (len(b.Faults) + 1) }

// Run brings the labs up, one after the other, makes the rounds, and takes the
// labs down, whatever happens.
func (b Bench) Run(ctx context.Context) ([]Round, error) {
	var rounds []Round
	for _, mode := range b.Modes {
		got, err := b.runMode(ctx, mode)
		rounds = append(rounds, got...)
		if err != nil {
			return rounds, fmt.Errorf("speculation %s: %w", mode, err)
		}
	}
	return rounds, nil
}

func (b Bench) runMode(ctx context.Context, mode Mode) (rounds []Round, err error) {
	set := maps.Clone(b.Set)
	if mode == Off {
		set["speculation.delay"] = "off"
	}
	lab, err := labs.Up(ctx, labs.Options{Lab: b.Lab, Instance: "bench-" + string(mode), Binary: b.Binary, Set: set})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, labs.Down(context.WithoutCancel(ctx), lab.Name)) }()
	for i := range b.Rounds {
		for _, fault := range append([]Fault{""}, b.Faults...) {
			r := &runner{b, labload.Cluster{Running: lab}}
			round, err := r.round(ctx, mode, fault, i)
			if err != nil {
				return rounds, fmt.Errorf("round %d, fault %q: %w", i+1, fault, err)
			}
			rounds = append(rounds, round)
			b.Done(round)
		}
	}
	return rounds, nil
}

// runner makes rounds in one lab.
type runner struct {
	Bench
	labload.Cluster
}

// round makes one. The victim is another host each time.
func (r *runner) round(ctx context.Context, mode Mode, fault Fault, i int) (Round, error) {
	if err := r.awaitWell(ctx); err != nil {
		return Round{}, err
	}
	round := Round{Mode: mode, Fault: fault}
	before, err := r.members(ctx)
	if err != nil {
		return round, err
	}
	if round.Victim, err = fault.victim(r.Labelled("onevip.role", fault.role()), before, i); err != nil {
		return round, err
	}
	lost := r.SwitchLost(ctx)
	round.Trace, round.At, err = r.loadWith(ctx, fault, round.Victim)
	round.SwitchLost = max(0, r.SwitchLost(ctx)-lost)
	if fault != "" {
		if _, heal := labs.HealAll(context.WithoutCancel(ctx), r.Name); heal != nil {
			err = errors.Join(err, heal)
		}
	}
	if err != nil {
		return round, err
	}
	if err := r.awaitWell(ctx); err != nil { // then all agents have said what they saw
		return round, err
	}
	after, err := r.members(ctx)
	round.DoubleOwners = doubleOwners(before, after)
	return round, err
}

// loadWith runs the load and injects the fault while it goes on. Without a fault
// it only tells when that would have been.
func (r *runner) loadWith(ctx context.Context, fault Fault, victim string) (trace Trace, at time.Time, err error) {
	load := r.Load
	load.For = lead + tail
	ready, out := labload.NewSaid(ReadyLine), bytes.Buffer{}
	done := make(chan error, 1)
	go func() {
		code, err := labs.Exec(ctx, r.Name, "client", load.command(), labs.Stdio{Out: &out, Err: ready})
		if err == nil && code != 0 {
			err = fmt.Errorf("the load ended with code %d: %s", code, ready.Text())
		}
		done <- err
	}()
	select {
	case err := <-done:
		return trace, at, errors.Join(errors.New("the load ended early"), err)
	case <-ready.Seen:
	}
	select {
	case <-time.After(lead):
	case err := <-done:
		return trace, at, errors.Join(errors.New("the load ended early"), err)
	}
	at = time.Now()
	if fault != "" {
		_, kind := fault.split()
		injected, err := labs.Fault(ctx, r.Name, victim, kind, labs.FaultOptions{})
		if err != nil {
			return trace, at, errors.Join(err, <-done)
		}
		at = injected.Struck
	}
	if err := <-done; err != nil {
		return trace, at, err
	}
	return trace, at, json.Unmarshal(out.Bytes(), &trace)
}

// command is the load as a command of the client host, whose onevip this is.
func (l Load) command() []string {
	return []string{"onevip", "bench", "failover-load",
		"--vip", l.VIP.String(), "--from", l.From.String(), "--froms", fmt.Sprint(l.Froms),
		"--rate", fmt.Sprint(l.Rate), "--for", l.For.String(), "--streams", fmt.Sprint(l.Streams)}
}

// awaitWell waits until nothing is left of the round before.
func (r *runner) awaitWell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healLimit)
	defer cancel()
	for {
		said := &bytes.Buffer{}
		code, err := r.Onevip(ctx, said, "status")
		if err == nil && code == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not well again: %w\n%s", context.Cause(ctx), said)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// members asks the cluster for its nodes.
func (r *runner) members(ctx context.Context) ([]member, error) {
	out := &bytes.Buffer{}
	if _, err := r.Onevip(ctx, out, "nodes", "-o", "json"); err != nil {
		return nil, err
	}
	var report struct {
		Nodes []member `json:"nodes"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return nil, fmt.Errorf("onevip nodes: %w", err)
	}
	return report.Nodes, nil
}

// doubleOwners adds up what the agents saw of invariant I1 violated since. A node
// that was booted counts from zero again.
func doubleOwners(before, after []member) (total int) {
	was := map[string]int{}
	for _, m := range before {
		was[m.Name] = m.Violations["double_owner"]
	}
	for _, m := range after {
		now := m.Violations["double_owner"]
		if now >= was[m.Name] {
			now -= was[m.Name]
		}
		total += now
	}
	return total
}

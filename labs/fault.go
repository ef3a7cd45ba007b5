// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var (
	// ErrFaultActive is returned by Fault for what is done to the host already.
	ErrFaultActive = errors.New("fault is active already")
	// ErrNoFault is returned by Heal where there is nothing to heal.
	ErrNoFault = errors.New("no fault is active")
)

// FaultOptions say how bad a fault is. The zero value is the usual case.
type FaultOptions struct {
	For   time.Duration // heal after this; 0: when asked to, or at once if the kind is momentary
	From  string        // partition: the other host, or the role of others (their label onevip.role)
	Link  string        // link-down, slow, shuffle, loss, copy-loss: the host's interface; empty: its first in the lab's file
	Delay time.Duration // slow, shuffle; 0: DefaultDelay, DefaultShuffle
	Loss  float64       // loss, copy-loss, shuffle: the share of frames, above 0 and up to 1; 0: DefaultLoss
}

// What a fault does if its options don't say.
const (
	DefaultDelay   = 2 * time.Second
	DefaultShuffle = 2 * time.Millisecond
	DefaultLoss    = 0.1
)

// ActiveFault is a fault that was injected and not healed. It is written to
// lab.json before anything is done, so that it can be undone by any process.
type ActiveFault struct {
	ID    int       `json:"id"` // among the lab's active faults
	Host  string    `json:"host"`
	Kind  FaultKind `json:"kind"`
	Since time.Time `json:"since"`
	From  string    `json:"from,omitempty"`
	Steps []step    `json:"steps"` // in the order of doing; undone in the other one
	// Struck is when the first step had been done: from then on others could
	// notice. Only Fault gives it.
	Struck time.Time `json:"-"`
}

// Fault injects a fault into a host of a running lab. With For, and for
// momentary kinds, it waits and heals; it does so at once when ctx ends.
// The error wraps ErrFaultActive, ErrNotUp or ErrBuilding where that is so.
func Fault(ctx context.Context, lab, host string, kind FaultKind, o FaultOptions) (ActiveFault, error) {
	row, err := kindOf(kind)
	if err != nil {
		return ActiveFault{}, err
	}
	if err := needsRoot(); err != nil {
		return ActiveFault{}, err
	}
	var f ActiveFault
	var name string
	err = changeFaults(ctx, lab, func(r *Running) error {
		name = r.Name
		f, err = r.inject(host, row, o)
		return err
	})
	if err != nil || o.For == 0 && !row.momentary {
		return f, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(o.For):
	}
	_, err = heal(context.WithoutCancel(ctx), name, func(other ActiveFault) bool { return other.ID == f.ID && other.Since.Equal(f.Since) })
	return f, err
}

// Faults lists the active faults of a lab.
func Faults(lab string) ([]ActiveFault, error) {
	r, err := Find(lab)
	if err != nil {
		return nil, err
	}
	return r.Faults, nil
}

// Heal undoes all faults of a host, the last one first. A crashed host boots.
// What could not be undone stays on the list, to be healed again.
func Heal(ctx context.Context, lab, host string) ([]ActiveFault, error) {
	r, err := Find(lab)
	if err != nil {
		return nil, err
	}
	if _, err := r.Host(host); err != nil {
		return nil, err
	}
	healed, err := heal(ctx, r.Name, func(f ActiveFault) bool { return f.Host == host })
	if err == nil && len(healed) == 0 {
		err = fmt.Errorf("%w on host %s of lab %s", ErrNoFault, host, r.Name)
	}
	return healed, err
}

// HealAll undoes all faults of a lab. That there are none is no error.
func HealAll(ctx context.Context, lab string) ([]ActiveFault, error) {
	return heal(ctx, lab, func(ActiveFault) bool { return true })
}

func needsRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("faults are injected and healed by root; try with sudo")
	}
	return nil
}

// changeFaults runs fn on a lab that is up, while nobody else changes it.
func changeFaults(ctx context.Context, lab string, fn func(*Running) error) error {
	r, err := Find(lab)
	if err != nil {
		return err
	}
	return r.withLabLock(func() error {
		r, err := read(r.Name) // again: as the one before left it
		switch {
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case r.Building():
			return r.errBuilding()
		case !r.Ready:
			return fmt.Errorf("%w: %s lost its builder; clear it up with: onevip lab down %s", ErrNotUp, r.Name, r.Name)
		}
		return fn(r)
	})
}

// inject plans a fault, writes it down and does it. What fails is undone. The
// caller holds the lock.
func (r *Running) inject(host string, row kindRow, o FaultOptions) (ActiveFault, error) {
	h, err := r.Host(host)
	if err != nil {
		return ActiveFault{}, err
	}
	if err := row.refuse(o); err != nil {
		return ActiveFault{}, err
	}
	f := ActiveFault{ID: r.freeFaultID(), Host: host, Kind: row.kind, Since: time.Now(), From: o.From}
	if f.Steps, err = row.plan(planner{r, macsOf}, h, o); err != nil {
		return f, err
	}
	for i := range f.Steps {
		f.Steps[i].ID = f.ID
	}
	if err := r.conflict(f, row); err != nil {
		return f, err
	}
	r.Faults = append(r.Faults, f)
	if err := r.save(); err != nil {
		return f, err
	}
	for _, s := range f.Steps {
		if err := s.do(r); err != nil {
			_, undo := r.healWhere(func(other ActiveFault) bool { return other.ID == f.ID })
			return f, errors.Join(fmt.Errorf("fault %s of host %s: %w", f.Kind, f.Host, err), undo)
		}
		if f.Struck.IsZero() && s.Op != opBoot {
			f.Struck = time.Now()
		}
	}
	return f, nil
}

func (r *Running) freeFaultID() int {
	id := 1
	for _, f := range r.Faults {
		id = max(id, f.ID+1)
	}
	return id
}

// conflict refuses a fault that is there, and what can't be told apart from it:
// a host that is crashed has no other fault, and one that has others can't crash.
func (r *Running) conflict(f ActiveFault, row kindRow) error {
	for _, other := range r.Faults {
		otherRow, err := kindOf(other.Kind)
		if err != nil {
			return err // written by another version
		}
		same := other.Host == f.Host && other.Kind == f.Kind && other.From == f.From
		crossed := otherRow.alone && f.touches(other.Host) || row.alone && other.touches(f.Host)
		if same || crossed {
			return fmt.Errorf("%w: %s of host %s, since %s; heal it with: onevip lab heal %s",
				ErrFaultActive, other.Kind, other.Host, other.Since.Format(time.TimeOnly), other.Host)
		}
	}
	return nil
}

// touches tells whether something of a host is changed by the fault.
func (f ActiveFault) touches(host string) bool {
	return f.Host == host || slices.ContainsFunc(f.Steps, func(s step) bool { return s.Host == host })
}

// heal undoes the faults of a lab that which names.
func heal(ctx context.Context, lab string, which func(ActiveFault) bool) (healed []ActiveFault, err error) {
	if err := needsRoot(); err != nil {
		return nil, err
	}
	err = changeFaults(ctx, lab, func(r *Running) error {
		healed, err = r.healWhere(which)
		return err
	})
	return healed, err
}

// healWhere undoes faults, the last one first, and strikes each off the list
// that is undone. The caller holds the lock.
func (r *Running) healWhere(which func(ActiveFault) bool) (healed []ActiveFault, err error) {
	for _, f := range slices.Backward(slices.Clone(r.Faults)) {
		if !which(f) {
			continue
		}
		if undo := r.undo(f); undo != nil {
			err = errors.Join(err, fmt.Errorf("heal %s of host %s: %w", f.Kind, f.Host, undo))
			continue
		}
		r.Faults = slices.DeleteFunc(r.Faults, func(other ActiveFault) bool { return other.ID == f.ID })
		healed = append(healed, f)
	}
	return healed, errors.Join(err, r.save())
}

// undo takes a fault's steps back. It goes on after a failure: the rest must
// not stay because of it.
func (r *Running) undo(f ActiveFault) error {
	var failures []error
	for _, s := range slices.Backward(f.Steps) {
		failures = append(failures, s.undo(r))
	}
	return errors.Join(failures...)
}

// String is the fault as one would ask for it: n1 partition from n2.
func (f ActiveFault) String() string {
	words := []string{f.Host, string(f.Kind)}
	if f.From != "" {
		words = append(words, "from", f.From)
	}
	return strings.Join(words, " ")
}

// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Options say which lab to build and how.
type Options struct {
	Lab      string // the name of a shipped lab, or the path of a .clab.yml or its folder
	Instance string // another name for it, so that it can be up twice
	Binary   string // the onevip that the hosts find in their PATH; empty: this one
	// Set has settings of the cluster by path (speculation.delay: off), which all
	// hosts get as onevip's variables.
	Set map[string]string
	// Env has variables for all hosts' processes; they win over those of the lab's file.
	Env      map[string]string
	Progress io.Writer // what is being done, a line each; nil: nothing
}

// Up builds a lab and returns once all its probes succeed. All or nothing: on
// an error, and when ctx ends, what was built is taken down again. The error is
// ErrAlreadyUp or ErrBuilding where that is so, and a *NotReadyError if the lab
// was built but doesn't work.
func Up(ctx context.Context, o Options) (*Running, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	s, err := open(o.Lab)
	if err != nil {
		return nil, err
	}
	r, err := plan(s, o)
	if err != nil {
		return nil, err
	}
	if err := withLock(r.claim); err != nil {
		return nil, err
	}
	if err := newBuilder(r, s, o).build(ctx); err != nil {
		if ctx.Err() != nil { // whatever it interrupted
			err = fmt.Errorf("lab %s is not up: interrupted: %w", r.Name, context.Cause(ctx))
		}
		fmt.Fprintf(o.Progress, "taking lab %s down again\n", r.Name)
		return nil, errors.Join(err, withLock(r.giveUp))
	}
	return r, nil
}

// claim makes the lab's folder and writes down what will be made. The remains
// of a builder that died are removed first. The caller holds the lock.
func (r *Running) claim() error {
	old, err := read(r.Name)
	switch {
	case errors.Is(err, ErrNotUp):
	case err != nil:
		return err
	case old.Building():
		return old.errBuilding()
	case old.Ready:
		return fmt.Errorf("%w: %s, since %s; take it down with: onevip lab down %s",
			ErrAlreadyUp, r.Name, old.Since.Format(time.DateTime), r.Name)
	default:
		if err := old.tearDown(); err != nil {
			return fmt.Errorf("clear what is left of lab %s: %w", r.Name, err)
		}
	}
	for _, h := range r.Hosts {
		if _, err := os.Stat(netnsPath(h.Namespace)); err == nil {
			return fmt.Errorf("namespace %s exists and is not this lab's; remove it with: ip netns del %s", h.Namespace, h.Namespace)
		}
	}
	if r.Builder, err = processOf(os.Getpid()); err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir(), 0o755); err != nil {
		return fmt.Errorf("make lab folder: %w", err)
	}
	return r.save()
}

// giveUp takes down what could not be built. If that fails too, Down may try
// again. The caller holds the lock.
func (r *Running) giveUp() error {
	r.Builder = Process{}
	return errors.Join(r.save(), r.tearDown())
}

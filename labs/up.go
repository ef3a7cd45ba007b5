// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Options say which lab to build and how.
type Options struct {
	Lab      string    // the name of a shipped lab, or the path of a .clab.yml or its folder
	Instance string    // another name for it, so that it can be up twice
	Binary   string    // the onevip that the hosts find in their PATH; empty: this one
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
	if err := r.claim(); err != nil {
		return nil, err
	}
	b := newBuilder(r, s, o)
	if err := b.build(ctx); err != nil {
		fmt.Fprintf(o.Progress, "taking lab %s down again\n", r.Name)
		r.Builder = Process{}
		return nil, errors.Join(err, r.save(), r.tearDown())
	}
	return r, nil
}

// claim makes the lab's folder, which only one process can, and writes down
// what will be made. The remains of a builder that died are removed first.
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
	if err := makeFolder(r.Dir()); err != nil {
		return err
	}
	if r.Builder, err = processOf(os.Getpid()); err == nil {
		err = r.save()
	}
	if err != nil {
		return errors.Join(err, r.tearDown())
	}
	return nil
}

// makeFolder makes the folder that nobody else may have made. Its parent may
// vanish meanwhile, with the last lab that another process takes down.
func makeFolder(dir string) error {
	for range 3 {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return fmt.Errorf("make lab folder: %w", err)
		}
		err := os.Mkdir(dir, 0o755)
		switch {
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%w: %s", ErrBuilding, filepath.Base(dir))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return fmt.Errorf("make lab folder %s: its parent is removed again and again", dir)
}

// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	termGrace  = 2 * time.Second // between SIGTERM and SIGKILL
	killLimit  = 5 * time.Second // for the kernel to end what was killed
	pollPeriod = 20 * time.Millisecond
)

// Down takes a lab down: processes, namespaces, pins, files. It does so too
// after its builder, or anything in it, was killed, and may be repeated after a
// failure. The error is ErrNotUp if there is no such lab, and ErrBuilding while
// another process builds it. An empty name means the only lab that is up.
func Down(ctx context.Context, name string) error {
	return withLock(func() error {
		r, err := Find(name)
		if err = errors.Join(ctx.Err(), err); err != nil {
			return err
		}
		if r.Building() {
			return r.errBuilding()
		}
		return r.tearDown()
	})
}

func (r *Running) errBuilding() error {
	return fmt.Errorf("%w: %s, by process %d; interrupt that one", ErrBuilding, r.Name, r.Builder.PID)
}

// DownAll takes all labs down and gives their names. It goes on after a
// failure.
func DownAll(ctx context.Context) ([]string, error) {
	labs, err := List()
	if err != nil {
		return nil, err
	}
	var names []string
	var failures []error
	for _, r := range labs {
		switch err := Down(ctx, r.Name); {
		case errors.Is(err, ErrNotUp): // taken down since
		case err != nil:
			failures = append(failures, fmt.Errorf("lab %s: %w", r.Name, err))
		default:
			names = append(names, r.Name)
		}
	}
	return names, errors.Join(failures...)
}

// tearDown removes all that the lab may have made. The lab's folder goes last:
// as long as something is left, Down finds it. The caller holds the lock.
func (r *Running) tearDown() error { return r.withLabLock(r.removeAll) }

func (r *Running) removeAll() error {
	if err := r.killAll(); err != nil {
		return err
	}
	var failures []error
	for _, h := range r.Hosts {
		failures = append(failures, removeNamespace(h.Namespace), removeNamespace(h.nextNamespace()), os.RemoveAll(h.Pins))
	}
	failures = append(failures, os.RemoveAll(r.data()))
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("take lab %s down: %w", r.Name, err)
	}
	if err := os.RemoveAll(r.Dir()); err != nil {
		return fmt.Errorf("take lab %s down: %w", r.Name, err)
	}
	removeIfEmpty(runRoot, filepath.Dir(runRoot), dataRoot, filepath.Dir(dataRoot), pinRoot)
	return nil
}

// removeIfEmpty removes folders that no other lab needs.
func removeIfEmpty(dirs ...string) {
	for _, dir := range dirs {
		_ = os.Remove(dir) // refused by the kernel if it isn't empty
	}
}

// killAll ends every process of the lab: those that were started for its hosts,
// and whatever else is in its namespaces. They are asked first, and killed
// after a grace.
func (r *Running) killAll() error {
	namespaces, err := r.namespaces()
	if err != nil {
		return err
	}
	started := time.Now()
	asked := map[Process]bool{}
	for {
		left, err := r.processes(namespaces)
		if err != nil || len(left) == 0 {
			return err
		}
		elapsed := time.Since(started)
		if elapsed > termGrace+killLimit {
			return fmt.Errorf("take lab %s down: %d processes do not end, the first is %d", r.Name, len(left), left[0].PID)
		}
		for _, p := range left {
			if elapsed > termGrace {
				p.signal(syscall.SIGKILL)
			} else if !asked[p] {
				asked[p] = true
				p.signal(syscall.SIGTERM)
				p.signal(syscall.SIGCONT) // a stopped one hears it only then
			}
		}
		time.Sleep(pollPeriod) // nothing tells when a process that is not our child ends
	}
}

// namespaces are the identities of the lab's namespaces that are there. That of
// this process is refused: Down would kill its own caller.
func (r *Running) namespaces() (map[nsID]bool, error) {
	own, err := namespaceID("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	found := map[nsID]bool{}
	for _, h := range r.Hosts {
		for _, name := range []string{h.Namespace, h.nextNamespace()} {
			id, err := namespaceID(netnsPath(name))
			if err != nil {
				continue // not made, or removed already
			}
			if id == own {
				return nil, fmt.Errorf("take lab %s down: this process runs inside of host %s; do it from outside", r.Name, h.Name)
			}
			found[id] = true
		}
	}
	return found, nil
}

// processes lists what of the lab lives.
func (r *Running) processes(namespaces map[nsID]bool) ([]Process, error) {
	living, err := processesIn(namespaces)
	if err != nil {
		return nil, err
	}
	seen := map[Process]bool{}
	for _, p := range living {
		seen[p] = true
	}
	for _, h := range r.Hosts {
		if h.Process.Alive() && !seen[h.Process] { // it left its namespace
			living = append(living, h.Process)
		}
	}
	return living, nil
}

// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Process names a process for as long as the machine runs: a process id alone
// may have been given to another one since.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

// processOf gives the name of a living process.
func processOf(pid int) (Process, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	stat, err := p.Stat()
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: stat.Starttime}, nil
}

// Alive tells whether the process runs still; a zombie does not.
func (p Process) Alive() bool {
	if p.PID == 0 {
		return false
	}
	proc, err := procfs.NewProc(p.PID)
	if err != nil {
		return false
	}
	stat, err := proc.Stat()
	return err == nil && stat.Starttime == p.Start && stat.State != "Z" && stat.State != "X"
}

// stopped tells whether the process was stopped by a signal.
func (p Process) stopped() bool {
	proc, err := procfs.NewProc(p.PID)
	if err != nil {
		return false
	}
	stat, err := proc.Stat()
	return err == nil && stat.State == "T"
}

// hasWords tells whether the process's command line has all these words.
func (p Process) hasWords(words ...string) bool {
	proc, err := procfs.NewProc(p.PID)
	if err != nil {
		return false
	}
	argv, err := proc.CmdLine()
	return err == nil && !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(argv, w) })
}

// signal sends sig to the process and to no other that has its id by now: the
// handle is taken before the check.
func (p Process) signal(sig syscall.Signal) {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return
	}
	defer handle.Release() //nolint:errcheck // nothing to do about it
	if p.Alive() {
		_ = handle.Signal(sig) // it may end meanwhile
	}
}

// nsID is the identity of a namespace.
type nsID struct{ dev, ino uint64 }

func namespaceID(path string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsID{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return nsID{st.Dev, st.Ino}, nil
}

// processesIn lists the processes whose network namespace is one of those. This
// process and init are never among them.
func processesIn(namespaces map[nsID]bool) ([]Process, error) {
	if len(namespaces) == 0 {
		return nil, nil
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var inside []Process
	for _, p := range all {
		if p.PID == 1 || p.PID == os.Getpid() {
			continue
		}
		id, err := namespaceID(fmt.Sprintf("/proc/%d/ns/net", p.PID))
		if err != nil || !namespaces[id] {
			continue // ended meanwhile, or elsewhere
		}
		if process, err := processOf(p.PID); err == nil {
			inside = append(inside, process)
		}
	}
	return inside, nil
}

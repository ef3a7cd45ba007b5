// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// A slow host's frames are held back by a process: netem would do it in the
// kernel, but not every kernel has it. A filter at the egress of the host's
// interface redirects what leaves to a tap, the process reads the tap, and
// sends each frame on when its time has come, marked so that the filter lets it
// pass. The process ends with the fault.

// DelayerWords are the arguments that make the binary of a lab's hosts hold
// frames back, before interface, tap, delay, and for Shuffler a share. Delayer or
// Shuffler does it.
var DelayerWords = []string{"lab", "delay"}

// tapName is the tap of a delay.
func (s step) tapName() string { return fmt.Sprintf("late%d", s.priority()) }

func (p Process) isDelayer() bool { return p.hasWords(DelayerWords...) }

// addDelay starts the process, and sends frames its way once it listens.
func addDelay(r *Running, h *Host, s step) error {
	argv := append([]string{filepath.Join(r.Dir(), "bin", "onevip")}, DelayerWords...)
	argv = append(argv, s.Link, s.tapName(), s.Delay.String())
	if s.Twice > 0 {
		argv = append(argv, fmt.Sprint(s.Twice))
	}
	cmd, err := h.startDetached(context.Background(), argv)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := h.awaitTap(s.tapName(), ended); err != nil {
		return err
	}
	code, err := bytecode(unmarked)
	if err != nil {
		return err
	}
	return h.addFilter(s, "bpf", "bytecode", code, "action", "mirred", "egress", "redirect", "dev", s.tapName())
}

// awaitTap waits until the tap is up, which the process makes.
func (h Host) awaitTap(name string, ended <-chan error) error {
	for deadline := time.After(killLimit); ; {
		err := h.setLink(name, func(l netlink.Link) error {
			if l.Attrs().Flags&net.FlagUp == 0 {
				return errors.New("it is not up")
			}
			return nil
		})
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the process that holds frames back ended: %w\n%s", err, tail(h.Log(), 3))
		case <-deadline:
			return fmt.Errorf("the process that holds frames back is not ready: %w", err)
		case <-time.After(pollPeriod):
		}
	}
}

// removeDelay ends the process last: what it holds is lost, nothing else.
func removeDelay(r *Running, h *Host, s step) error {
	if err := removeFilter(r, h, s); err != nil {
		return err
	}
	return untilNone(func() (left []Process, err error) {
		all, err := h.processes()
		for _, p := range all {
			if p.hasWords(append([]string{s.tapName()}, DelayerWords...)...) {
				p.signal(syscall.SIGKILL)
				left = append(left, p)
			}
		}
		return left, err
	})
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Pulse tells the programs that the agent lives. Once there was one, they do not
// pick their own node as an owner two seconds after the last, as long as there is
// another: a node whose processes all hang still answers SYNs.
func (f *Filter) Pulse() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	return f.pulseAt(time.Duration(now.Nano()))
}

// pulseAt takes a time of CLOCK_MONOTONIC.
func (f *Filter) pulseAt(now time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	globals := f.globals
	globals.Pulse = max(1, uint32(now/time.Second))
	if globals == f.globals {
		return nil
	}
	if err := f.objs.Globals.Put(uint32(0), &globals); err != nil {
		return fmt.Errorf("write the pulse: %w", err)
	}
	f.globals = globals
	return nil
}

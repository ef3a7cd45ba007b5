// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// clockRounds is how often the kernel is asked, a millisecond apart, for timers that
// it had no memory for.
const clockRounds = 200

// makeClocks gives each clock of SYNs that wait its timer. Those that an earlier
// process made are kept. Where the kernel has no memory in all rounds, the clock's SYNs
// are answered without waiting (ReasonAnsweredUntimed), which is no error.
func (f *Filter) makeClocks() error {
	for range clockRounds {
		missing, err := f.objs.OnevipClocks.Run(&ebpf.RunOptions{})
		if err != nil {
			return fmt.Errorf("make the timers of SYNs that wait: %w", err)
		}
		if missing == 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

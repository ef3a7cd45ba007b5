// SPDX-License-Identifier: Apache-2.0

package nodeagent

import "time"

// clocks are the same moment by two clocks: records have wall time, which nodes
// share, the kernel's tables have CLOCK_MONOTONIC, which begins anew with each boot.
type clocks struct {
	wall      time.Time
	monotonic time.Duration
}

// wallOf is in whole microseconds, so that it is the same after it was stored.
func (c clocks) wallOf(monotonic time.Duration) time.Time {
	return c.wall.Add(monotonic - c.monotonic).UTC().Truncate(time.Microsecond)
}

// monotonicOf is never 0, which means never, nor ahead, where the kernel's subtraction
// would wrap: what changed before this boot, or by a clock ahead of ours, changed at the
// boot, or now.
func (c clocks) monotonicOf(wall time.Time) time.Duration {
	return min(max(1, c.monotonic+wall.Sub(c.wall)), max(1, c.monotonic))
}

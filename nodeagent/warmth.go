// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"math"
	"time"

	"github.com/onevip/onevip/scheduler"
)

const (
	// slowStart is how long a node that was away is eased in.
	slowStart = 10 * time.Second
	// rampSteps is the number of steps in which its weight grows meanwhile.
	rampSteps = 8
	// weightScale makes room for the steps: the maps hold a node's weight in
	// 64ths. topology's 1000 becomes 64000, still 16 bits.
	weightScale = scheduler.WeightUnit
)

// warmth is how much of its weight a node has, 0..1. It grows while the node
// is listed and falls while it is not, a whole in slowStart either way: a
// heartbeat or two lost cost nothing, an absence of a minute starts at the
// lowest step.
type warmth struct {
	level float64
	at    time.Time
}

// pass accounts for the time since the last call, during which the node was
// listed or not.
func (w *warmth) pass(now time.Time, listed bool) {
	change := now.Sub(w.at).Seconds() / slowStart.Seconds()
	if !listed {
		change = -change
	}
	w.level = math.Min(1, math.Max(0, w.level+change))
	w.at = now
}

// weight is the scaled weight that the node has now, at least one step of its
// full one.
func (w *warmth) weight(full uint16) uint16 {
	step := max(1, math.Ceil(w.level*rampSteps))
	return uint16(float64(full) * weightScale * step / rampSteps)
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"time"
)

// Policy says when Session.Offer takes a checkpoint. Make one with Adaptive,
// EveryBytes, Every or Manual. Whatever it says, Offer also takes one when half
// of what the client can hold, for replay or back, is uncovered: else the
// stream would stall.
type Policy struct {
	manual   bool
	bytes    uint64        // due after so many bytes of either direction; 0 = not by bytes
	interval time.Duration // due after so long, if there is anything to cover; 0 = not by time
	budget   float64       // adaptive: the share of time and of bytes that may be spent
}

// What the adaptive policy keeps to.
const (
	// adaptiveBudget of 0.2% per cost leaves room for what the client and the
	// kernel spend on the same checkpoint, within one percent.
	adaptiveBudget = 0.002
	adaptiveMin    = 10 * time.Millisecond // never more often
	adaptiveMax    = time.Second           // never less often, if there is anything to cover
)

// Adaptive is the default: as often as it can without spending more than a
// fraction of a percent of time or bytes on checkpoints, at least each second.
func Adaptive() Policy { return Policy{budget: adaptiveBudget} }

// EveryBytes takes a checkpoint each n bytes, of both directions together.
func EveryBytes(n uint64) Policy { return Policy{bytes: max(n, 1)} }

// Every takes a checkpoint each d, if anything was written or read since.
func Every(d time.Duration) Policy { return Policy{interval: max(d, time.Millisecond)} }

// Manual leaves it to the application's calls of Checkpoint. Offer then acts
// only when the stream would stall without.
func Manual() Policy { return Policy{manual: true} }

// String describes p.
func (p Policy) String() string {
	switch {
	case p.manual:
		return "manual"
	case p.bytes > 0:
		return fmt.Sprintf("every %d bytes", p.bytes)
	case p.interval > 0:
		return fmt.Sprintf("every %s", p.interval)
	}
	return "adaptive"
}

// uncovered is what a policy decides on: what happened since the newest
// checkpoint, and what one costs.
type uncovered struct {
	in, out uint64        // bytes since
	elapsed time.Duration // since
	first   bool          // there is none yet
	cost    time.Duration // of taking one, smoothed
	size    int           // of the last one, bytes

	replay int // bytes of input the client can keep for replay
	hold   int // bytes of output the client can hold back; 0 = it delivers at once
}

// due decides whether a checkpoint is to be taken.
func (p Policy) due(u uncovered) bool {
	if u.in == 0 && u.out == 0 && !u.first {
		return false // the newest one says it all
	}
	if u.stalls() {
		return true
	}
	switch {
	case p.manual:
		return false
	case u.first:
		return true
	case p.bytes > 0:
		return u.in+u.out >= p.bytes
	case p.interval > 0:
		return u.elapsed >= p.interval
	}
	return p.affordable(u)
}

// stalls reports whether one of the client's buffers is half full.
func (u uncovered) stalls() bool {
	if u.in > 0 && u.in >= uint64(u.replay)/2 {
		return true
	}
	return u.hold > 0 && u.out > 0 && u.out >= uint64(u.hold)/2
}

// affordable is the adaptive rule: not before the cost is a small share of the
// time, and the checkpoint's size a small share of the bytes, since the last.
func (p Policy) affordable(u uncovered) bool {
	if u.elapsed >= adaptiveMax {
		return true
	}
	if u.elapsed < adaptiveMin || u.elapsed < time.Duration(float64(u.cost)/p.budget) {
		return false
	}
	return float64(u.in+u.out) >= float64(u.size)/p.budget
}

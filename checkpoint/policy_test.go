// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPolicyDue(t *testing.T) {
	ms := time.Millisecond
	base := uncovered{replay: 1000, cost: 10 * time.Microsecond, size: 100}
	with := func(change func(*uncovered)) uncovered {
		u := base
		change(&u)
		return u
	}
	cases := []struct {
		name   string
		policy Policy
		u      uncovered
		want   bool
	}{
		{"nothing new", Every(ms), with(func(u *uncovered) { u.elapsed = time.Hour }), false},
		{"first of all", Adaptive(), with(func(u *uncovered) { u.first = true }), true},
		{"first, but manual", Manual(), with(func(u *uncovered) { u.first = true }), false},
		{"half the replay buffer, even manual", Manual(), with(func(u *uncovered) { u.in = 500 }), true},
		{"less than half", Manual(), with(func(u *uncovered) { u.in = 499 }), false},
		{"half of what is held back", Manual(), with(func(u *uncovered) { u.hold, u.out = 100, 50 }), true},
		{"output without holding back", Manual(), with(func(u *uncovered) { u.out = 1 << 40 }), false},
		{"enough bytes", EveryBytes(100), with(func(u *uncovered) { u.in, u.out = 40, 60 }), true},
		{"not enough bytes", EveryBytes(100), with(func(u *uncovered) { u.in, u.out = 40, 59 }), false},
		{"long enough", Every(20 * ms), with(func(u *uncovered) { u.out, u.elapsed = 1, 20*ms }), true},
		{"too soon", Every(20 * ms), with(func(u *uncovered) { u.out, u.elapsed = 1, 19*ms }), false},
		{"adaptive: at the latest", Adaptive(), with(func(u *uncovered) { u.out, u.elapsed = 1, adaptiveMax }), true},
		{"adaptive: cheap", Adaptive(), with(func(u *uncovered) { u.out, u.elapsed = 50_000, adaptiveMin }), true},
		{"adaptive: too soon", Adaptive(), with(func(u *uncovered) { u.out, u.elapsed = 50_000, adaptiveMin-1 }), false},
		{"adaptive: too few bytes for its size", Adaptive(), with(func(u *uncovered) { u.out, u.elapsed = 49_999, 500*ms }), false},
		{"adaptive: costs too much time", Adaptive(), with(func(u *uncovered) { u.out, u.elapsed, u.cost = 1<<30, 499*ms, ms }), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.policy.due(c.u); got != c.want {
				t.Errorf("due is %t, want %t", got, c.want)
			}
		})
	}
}

// TestAdaptiveKeepsItsBudget runs the policy over a made-up stream and adds up
// what its checkpoints cost.
func TestAdaptiveKeepsItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cost := time.Duration(rapid.IntRange(1, 200).Draw(t, "cost")) * time.Microsecond
		size := rapid.IntRange(tokenOverhead, 4096).Draw(t, "size")
		rate := rapid.Float64Range(1e3, 1e10).Draw(t, "rate") // bytes per second
		step := time.Millisecond
		var total, spent, since time.Duration
		var bytes, overhead, fresh float64
		for total = 0; total < 20*time.Second; total += step {
			since += step
			fresh += rate * step.Seconds()
			u := uncovered{out: uint64(fresh), elapsed: since, cost: cost, size: size, replay: 1 << 18}
			if Adaptive().due(u) {
				spent += cost
				overhead += float64(size)
				bytes += fresh
				since, fresh = 0, 0
			}
		}
		if spent == 0 {
			t.Fatal("no checkpoint in 20 s")
		}
		// One a second is the floor; above it both budgets hold.
		if spent > 21*cost && spent.Seconds() > 0.01*total.Seconds() {
			t.Errorf("checkpoints take %s of %s", spent, total)
		}
		if overhead > 21*float64(size) && overhead > 0.01*bytes {
			t.Errorf("checkpoints are %.0f bytes of %.0f", overhead, bytes)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSettle(t *testing.T) {
	type step struct {
		after             time.Duration // since the step before
		assigned, adopted uint64
		boot              uint64
		want              uint64
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"both counted before: nothing is in flight", []step{{0, 900, 100, 7, 900}}},
		{"adoptions settle", []step{{0, 0, 0, 7, 0}, {time.Second, 10, 4, 7, 4}, {time.Second, 10, 10, 7, 10}}},
		{"what nobody adopts is given up after 3 s", []step{
			{0, 0, 0, 7, 0}, {time.Second, 10, 0, 7, 0}, {2900 * time.Millisecond, 10, 0, 7, 0},
			{200 * time.Millisecond, 10, 0, 7, 10}}},
		{"later ones are still in flight", []step{
			{0, 0, 0, 7, 0}, {time.Second, 10, 0, 7, 0}, {2 * time.Second, 15, 0, 7, 0}, {time.Second, 15, 0, 7, 10}}},
		{"given up, the next adoption settles the next", []step{
			{0, 0, 0, 7, 0}, {time.Second, 10, 0, 7, 0}, {4 * time.Second, 10, 0, 7, 10},
			{time.Second, 12, 1, 7, 11}}},
		{"adopted on behalf of another: not more than assigned", []step{{0, 0, 0, 7, 0}, {time.Second, 2, 5, 7, 2}, {time.Second, 3, 5, 7, 2}}},
		{"another boot counts anew", []step{{0, 0, 0, 7, 0}, {time.Second, 10, 6, 7, 6}, {time.Second, 10, 8, 9, 6}, {100 * time.Millisecond, 10, 9, 9, 7}}},
		{"the owner's programs were loaded anew", []step{{0, 0, 0, 7, 0}, {time.Second, 10, 6, 7, 6}, {time.Second, 10, 1, 7, 6}, {100 * time.Millisecond, 10, 2, 7, 7}}},
		{"our programs were loaded anew", []step{{0, 50, 0, 7, 50}, {time.Second, 3, 4, 7, 3}, {time.Second, 5, 5, 7, 4}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l ledger
			now := start
			for i, s := range tt.steps {
				now = now.Add(s.after)
				if got := l.settle(now, s.assigned, s.adopted, s.boot); got != s.want {
					t.Fatalf("step %d: settled %d, want %d", i, got, s.want)
				}
			}
		})
	}
}

// Whatever happens: settled never falls, never exceeds assigned, and reaches
// what was assigned giveUpAfter ago, a sample and a pause between looks later.
func TestSettleInvariants(t *testing.T) {
	const pause = 400 // ms, at most
	rapid.Check(t, func(t *rapid.T) {
		var l ledger
		now, assigned, adopted, settled := start, uint64(0), uint64(0), uint64(0)
		type moment struct {
			at       time.Time
			assigned uint64
		}
		var history []moment
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, pause).Draw(t, "ms")) * time.Millisecond)
			assigned += rapid.Uint64Range(0, 20).Draw(t, "more assigned")
			adopted += rapid.Uint64Range(0, 20).Draw(t, "more adopted")
			got := l.settle(now, assigned, adopted, 1)
			if got < settled || got > assigned {
				t.Fatalf("settled %d after %d, assigned %d", got, settled, assigned)
			}
			for _, m := range history {
				if now.Sub(m.at) >= giveUpAfter+sampleEvery+pause*time.Millisecond && got < m.assigned {
					t.Fatalf("settled %d, but %d were assigned %s ago", got, m.assigned, now.Sub(m.at))
				}
			}
			history = append(history, moment{now, assigned})
			settled = got
			if limit := int(giveUpAfter/sampleEvery) + 2; len(l.past) > limit {
				t.Fatalf("%d samples are kept, want at most %d", len(l.past), limit)
			}
		}
	})
}

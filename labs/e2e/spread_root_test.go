// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
)

func TestSharesAreEven(t *testing.T) {
	quickstart.use(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			got := quickstart.burst(t, f)
			checkShares(t, got.Answers, map[string]int{"n1": 100, "n2": 100, "n3": 100, "n4": 100})
		})
	}
}

func TestSharesFollowWeights(t *testing.T) {
	variant.use(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			got := variant.burst(t, f)
			checkShares(t, got.Answers, map[string]int{"n1": 80, "n2": 80, "n3": 80, "n4": 160})
		})
	}
}

// burst makes 400 requests, in a fraction of a second, on a cluster at rest: what
// it had before is over, and all nodes have said so. A burst is no longer than two
// heartbeats: what the last one left would still count in it.
func (l *lab) burst(t *testing.T, f family) *tally {
	t.Helper()
	adopted := -1
	eventually(t, patience, func() error {
		before := adopted
		now, active := l.web(t)
		if adopted = now; active > 0 || now != before {
			return fmt.Errorf("%d connections are active, and %d were adopted since a moment ago", active, now-before)
		}
		return nil
	})
	got := newTally()
	l.helper(t, got, "requests", f.requests(400)...)
	if got.Failed > 0 {
		t.Fatalf("%d of 400 failed: %q", got.Failed, got.Errors)
	}
	eventually(t, patience, func() error {
		if now, _ := l.web(t); now < adopted+400 {
			return fmt.Errorf("%d adoptions are known, want %d", now, adopted+400)
		}
		return nil
	})
	return got
}

// One node has fifty long downloads, the others none: new connections avoid it.
func TestBusyNodeIsAvoided(t *testing.T) {
	quickstart.use(t)
	lopsided := quickstart.start(t, "client", helperCommand(t, "lopsided", families[0].requests(50)...)...)
	busy := lopsided.line(t)
	quickstart.awaitLoneDownloads(t, busy, 50)
	var got tally
	quickstart.helper(t, &got, "requests", families[0].requests(100)...)
	if got.Failed > 0 || got.Answers[busy] > 0 {
		t.Errorf("%s has 50 downloads and got %d of 100 new connections (%d failed %q); all: %v",
			busy, got.Answers[busy], got.Failed, got.Errors, got.Answers)
	}
	lopsided.finish(t)
}

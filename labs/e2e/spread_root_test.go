// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"
)

func TestSharesAreEven(t *testing.T) {
	quickstart.use(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			var got tally
			quickstart.helper(t, &got, "requests", f.requests(400)...)
			if got.Failed > 0 {
				t.Fatalf("%d of 400 failed: %q", got.Failed, got.Errors)
			}
			checkShares(t, got.Answers, map[string]int{"n1": 100, "n2": 100, "n3": 100, "n4": 100})
		})
	}
}

func TestSharesFollowWeights(t *testing.T) {
	variant.use(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			var got tally
			variant.helper(t, &got, "requests", f.requests(400)...)
			if got.Failed > 0 {
				t.Fatalf("%d of 400 failed: %q", got.Failed, got.Errors)
			}
			checkShares(t, got.Answers, map[string]int{"n1": 80, "n2": 80, "n3": 80, "n4": 160})
		})
	}
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

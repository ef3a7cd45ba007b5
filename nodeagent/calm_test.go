// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	var c calm
	steps := []struct {
		after         time.Duration
		active        uint32
		adopted, boot uint64
		wantActive    uint32
		wantAdopted   uint64
		because       string
	}{
		{0, 3, 10, 1, 3, 10, "nothing else is known"},
		{100 * time.Millisecond, 9, 20, 1, 3, 10, "six may be gone at once"},
		{200 * time.Millisecond, 8, 30, 1, 3, 10, "not yet 300 ms with more"},
		{100 * time.Millisecond, 8, 40, 1, 8, 20, "eight have lasted"},
		{50 * time.Millisecond, 2, 41, 1, 2, 20, "who went is no load"},
		{50 * time.Millisecond, 7, 5, 2, 7, 5, "another boot begins anew"},
	}
	now := start
	for _, s := range steps {
		now = now.Add(s.after)
		got := c.over(now, standing{active: s.active, adopted: s.adopted, incarnation: s.boot})
		if got.active != s.wantActive || got.adopted != s.wantAdopted {
			t.Errorf("%s: %d active, %d adopted; want %d, %d", s.because, got.active, got.adopted, s.wantActive, s.wantAdopted)
		}
	}
}

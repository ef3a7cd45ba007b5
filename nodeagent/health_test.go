// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestHealth(t *testing.T) {
	check := state.Health{Type: topology.HealthTCP, Rise: 2, Fall: 3}
	tests := []struct {
		name    string
		results []string
		want    health
	}{
		{"before the first", nil, health{reason: notChecked}},
		{"the first good one decides", []string{""}, health{checked: true, healthy: true}},
		{"the first bad one decides", []string{"refused"}, health{checked: true, reason: "refused"}},
		{"two bad ones do not", []string{"", "refused", "refused"}, health{checked: true, healthy: true, streak: 2}},
		{"three do", []string{"", "refused", "refused", "timeout"}, health{checked: true, reason: "timeout"}},
		{"a good one between", []string{"", "x", "x", "", "x", "x"}, health{checked: true, healthy: true, streak: 2}},
		{"one good one does not heal", []string{"x", ""}, health{checked: true, reason: "x", streak: 1}},
		{"two do", []string{"x", "", ""}, health{checked: true, healthy: true}},
		{"the newest reason is told", []string{"x", "y"}, health{checked: true, reason: "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHealth(check)
			for _, r := range tt.results {
				h.observe(r, check)
			}
			if diff := cmp.Diff(tt.want, h, cmp.AllowUnexported(health{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoCheckIsHealthy(t *testing.T) {
	if h := newHealth(state.Health{Type: topology.HealthNone}); !h.checked || !h.healthy {
		t.Errorf("health is %+v, want a healthy one", h)
	}
}

// The verdict is the last one for which enough results in a row spoke, found by
// looking at the whole history each time.
func TestHealthAgreesWithHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		check := state.Health{Rise: rapid.IntRange(1, 4).Draw(t, "rise"), Fall: rapid.IntRange(1, 4).Draw(t, "fall")}
		h := newHealth(check)
		var history []bool
		for range rapid.IntRange(1, 40).Draw(t, "checks") {
			good := rapid.Bool().Draw(t, "good")
			history = append(history, good)
			h.observe(map[bool]string{false: "bad"}[good], check)
			if want := verdict(history, check); h.healthy != want {
				t.Fatalf("healthy is %t, want %t after %v", h.healthy, want, history)
			}
			if h.healthy == (h.reason != "") {
				t.Fatalf("healthy is %t with reason %q", h.healthy, h.reason)
			}
		}
	})
}

func verdict(history []bool, check state.Health) bool {
	need := map[bool]int{true: check.Rise, false: check.Fall}
	for end := len(history); end > 1; end-- {
		run := 1
		for run < end && history[end-1-run] == history[end-1] {
			run++
		}
		if run >= need[history[end-1]] || run == end {
			return history[end-1]
		}
	}
	return history[0]
}

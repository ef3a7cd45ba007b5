// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	acts    = 3    // of a story, each of some 30 steps
	stories = 4000 // more than it takes to find what is missing
)

// story lets things happen, and gives the first violation; empty: there was none.
func story(t *rapid.T, r rules) string {
	w := newWorld(t, r)
	for range acts {
		t.Repeat(w.steps())
	}
	if w.broken == "" {
		w.checkSettled(t)
	}
	return w.broken
}

// Whatever happens, in whatever order, the invariants hold.
func TestProtocol(t *testing.T) {
	searches := 5
	if testing.Short() {
		searches = 1
	}
	for range searches {
		rapid.Check(t, func(t *rapid.T) {
			if broken := story(t, rules{}); broken != "" {
				t.Fatal(broken)
			}
		})
	}
}

// With one of its rules left out, they do not, or the search would prove nothing.
func TestProtocolWithoutARule(t *testing.T) {
	tests := []struct {
		name  string
		rules rules
		first int    // story to try: one soon after it finds a violation
		want  string // of that
	}{
		{"a guard that does not wait for the fence", rules{actsUnfenced: true}, 430, "I1"},
		{"a guard that does not wait for its predecessor's fence", rules{replacesUnfenced: true}, 1000, "act in slot"},
		{"a leader that takes the tables for the fence", rules{believesTables: true}, 1400, "I1"},
		{"a node that keeps its sockets", rules{keepsSockets: true}, 250, "I1"},
		{"a node that stands down and stays awake", rules{staysAwake: true}, 1500, "I1"},
		{"a guard that forgets the request", rules{forgetsData: true}, 440, "runs again"},
		{"a node that forgets what it closed", rules{forgetsClosed: true}, 2040, "runs again"},
		{"a node that speaks for who it was", rules{speaksForOldSelf: true}, 1430, "resets"},
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			search := rapid.Custom(func(t *rapid.T) string { return story(t, tt.rules) })
			for seed := tt.first; seed < tt.first+stories; seed++ {
				if broken := search.Example(seed); strings.Contains(broken, tt.want) {
					t.Logf("story %d: %s", seed, broken)
					return
				}
			}
			t.Errorf("no violation found in %d stories", stories)
		})
	}
}

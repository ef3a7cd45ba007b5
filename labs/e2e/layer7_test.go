// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
)

// The services of lab 03, as IPv4 and IPv6 clients reach them.
const (
	webPort     = 80
	boundedPort = 81
	sessionPort = 82
)

// at is the same family at another port.
func (f family) at(port int) string { return fmt.Sprintf("%s:%d", f.vip, port) }

// clients are the helper's flags for so many connections to a port.
func (f family) clients(port, count int, more ...string) []string {
	return append([]string{"-vip", f.at(port), "-from", f.from, "-froms", "64", "-n", fmt.Sprint(count)}, more...)
}

// tallied runs a helper that gives a tally, in which nothing may have failed.
func (l *lab) tallied(t *testing.T, verb string, args ...string) *tally {
	t.Helper()
	got := newTally()
	l.helper(t, got, verb, args...)
	if got.Failed > 0 {
		t.Fatalf("%s: %d failed: %q; answers %v", verb, got.Failed, got.Errors, got.Answers)
	}
	return got
}

// adoptions are those of one service so far, in all and by node.
func (l *lab) adoptions(t *testing.T, service string) (all int, by map[string]int) {
	t.Helper()
	var view servicesView
	if err := l.show("services", &view); err != nil {
		t.Fatal(err)
	}
	by = map[string]int{}
	for _, s := range view.Services {
		for _, n := range s.Nodes {
			if s.Name == service {
				by[n.Node] += n.Adopted
				all += n.Adopted
			}
		}
	}
	return all, by
}

// unviolated checks at the test's end that no invariant was violated during it.
func (l *lab) unviolated(t *testing.T) {
	t.Helper()
	before, err := l.nodes()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { scene{lab: l, before: before}.checkInvariants(t) })
}

// finishTally ends a helper that waits for stdin's end.
func (p *process) finishTally(t *testing.T) *tally {
	t.Helper()
	got := newTally()
	if out := p.finish(t); json.Unmarshal([]byte(out), got) != nil {
		t.Fatalf("helper says %q", out)
	}
	return got
}

func names(answers map[string]int) []string { return slices.Sorted(maps.Keys(answers)) }

// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func cable(a, b string) Link {
	var l Link
	if err := errors.Join(l.A.UnmarshalText([]byte(a)), l.B.UnmarshalText([]byte(b))); err != nil {
		panic(err)
	}
	return l
}

func TestFloodTree(t *testing.T) {
	switches := []Switch{{Name: "c"}, {Name: "b"}, {Name: "a"}}
	tests := []struct {
		name  string
		links []Link
		want  Tree
	}{
		{"triangle: the link far from the root is left out",
			[]Link{cable("b:1", "c:2"), cable("c:1", "a:3"), cable("a:2", "b:9")},
			Tree{"a", []Link{cable("a:2", "b:9"), cable("a:3", "c:1")},
				map[SwitchName][]string{"a": {"2", "3"}, "b": {"9"}, "c": {"1"}}}},
		{"chain, written from the far end",
			[]Link{cable("c:1", "b:2"), cable("b:1", "a:1")},
			Tree{"a", []Link{cable("a:1", "b:1"), cable("b:2", "c:1")},
				map[SwitchName][]string{"a": {"1"}, "b": {"1", "2"}, "c": {"1"}}}},
		{"parallel links: one is taken",
			[]Link{cable("a:2", "b:2"), cable("a:1", "b:1"), cable("b:3", "c:1")},
			Tree{"a", []Link{cable("a:1", "b:1"), cable("b:3", "c:1")},
				map[SwitchName][]string{"a": {"1"}, "b": {"1", "3"}, "c": {"1"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FloodTree(switches, tt.links, "a")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFloodTreeErrors(t *testing.T) {
	switches := []Switch{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	_, err := FloodTree(switches, []Link{cable("b:1", "c:1")}, "a")
	var gap *DisconnectedError
	if !errors.As(err, &gap) || err.Error() != "no path of links from switch a to b, c" {
		t.Errorf("disconnected: %v", err)
	}
	if _, err := FloodTree(switches, nil, "z"); err == nil || err.Error() != `flood tree: root "z" is no switch` {
		t.Errorf("unknown root: %v", err)
	}
	if _, err := FloodTree(switches, []Link{cable("a:1", "z:1")}, "a"); err == nil || err.Error() != "flood tree: link a:1 -- z:1 has an end at no switch" {
		t.Errorf("unknown end: %v", err)
	}
}

// A tree over n switches has n-1 links, reaches all, and doesn't depend on the
// order in which anything is written.
func TestFloodTreeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "switches")
		name := func(i int) SwitchName { return SwitchName(fmt.Sprintf("s%02d", i)) }
		var switches []Switch
		var links []Link
		add := func(a, b int) {
			port := fmt.Sprint(len(links))
			links = append(links, Link{Endpoint{name(a), port}, Endpoint{name(b), port}})
		}
		for i := range n {
			switches = append(switches, Switch{Name: name(i)})
			if i > 0 {
				add(rapid.IntRange(0, i-1).Draw(t, "parent"), i)
			}
		}
		for range rapid.IntRange(0, 10).Draw(t, "more links") {
			add(rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b"))
		}
		root := name(rapid.IntRange(0, n-1).Draw(t, "root"))
		tree, err := FloodTree(switches, links, root)
		if err != nil {
			t.Fatal(err)
		}
		reached := map[SwitchName]bool{root: true}
		for _, l := range tree.Links {
			if !reached[l.A.Switch] || reached[l.B.Switch] {
				t.Fatalf("link %s does not extend the tree %v", l, tree.Links)
			}
			reached[l.B.Switch] = true
		}
		if len(reached) != n {
			t.Fatalf("reaches %d of %d switches", len(reached), n)
		}
		mixed := rapid.Permutation(links).Draw(t, "mixed")
		for i := range mixed {
			if rapid.Bool().Draw(t, "turned") {
				mixed[i] = Link{mixed[i].B, mixed[i].A}
			}
		}
		again, err := FloodTree(rapid.Permutation(switches).Draw(t, "mixed switches"), mixed, root)
		if diff := cmp.Diff(tree, again); err != nil || diff != "" {
			t.Errorf("another order gives another tree (error %v)\n%s", err, diff)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Tree is a loop-free set of links that joins all switches. A packet that is
// flooded along it reaches each switch once.
type Tree struct {
	Root  SwitchName
	Links []Link // nearest to the root first
	// Ports are the ends of these links, sorted, per switch. A switch without
	// links has no entry.
	Ports map[SwitchName][]string
}

// DisconnectedError is returned by FloodTree when links are missing.
type DisconnectedError struct {
	Root    SwitchName
	Missing []SwitchName // those that no path leads to, sorted
}

func (e *DisconnectedError) Error() string {
	names := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		names[i] = string(m)
	}
	return fmt.Sprintf("no path of links from switch %s to %s", e.Root, strings.Join(names, ", "))
}

// FloodTree computes the breadth-first tree from root. It depends on the sets
// of switches and links only, not on their order, so that every controller
// computes the same. The error is a *DisconnectedError, or says that root or a
// link's end is no switch.
func FloodTree(switches []Switch, links []Link, root SwitchName) (Tree, error) {
	unseen := map[SwitchName]bool{}
	for _, s := range switches {
		unseen[s.Name] = true
	}
	if !unseen[root] {
		return Tree{}, fmt.Errorf("flood tree: root %q is no switch", root)
	}
	out := map[SwitchName][]Link{} // by the end at that switch, which is A
	for _, l := range links {
		if !unseen[l.A.Switch] || !unseen[l.B.Switch] {
			return Tree{}, fmt.Errorf("flood tree: link %s has an end at no switch", l)
		}
		out[l.A.Switch] = append(out[l.A.Switch], l)
		out[l.B.Switch] = append(out[l.B.Switch], Link{A: l.B, B: l.A})
	}
	tree := grow(root, out, unseen)
	if len(unseen) > 0 {
		missing := make([]SwitchName, 0, len(unseen))
		for name := range unseen {
			missing = append(missing, name)
		}
		slices.Sort(missing)
		return Tree{}, &DisconnectedError{Root: root, Missing: missing}
	}
	return tree, nil
}

// grow takes from unseen what it reaches.
func grow(root SwitchName, out map[SwitchName][]Link, unseen map[SwitchName]bool) Tree {
	tree := Tree{Root: root, Ports: map[SwitchName][]string{}}
	delete(unseen, root)
	for queue := []SwitchName{root}; len(queue) > 0; queue = queue[1:] {
		next := out[queue[0]]
		slices.SortFunc(next, compareLinks)
		for _, l := range next {
			if !unseen[l.B.Switch] {
				continue
			}
			delete(unseen, l.B.Switch)
			queue = append(queue, l.B.Switch)
			tree.Links = append(tree.Links, l)
			tree.Ports[l.A.Switch] = append(tree.Ports[l.A.Switch], l.A.Port)
			tree.Ports[l.B.Switch] = append(tree.Ports[l.B.Switch], l.B.Port)
		}
	}
	for _, ports := range tree.Ports {
		slices.Sort(ports)
	}
	return tree
}

// compareLinks orders the links of one switch by the far end.
func compareLinks(a, b Link) int {
	if c := strings.Compare(a.B.String(), b.B.String()); c != 0 {
		return c
	}
	return strings.Compare(a.A.String(), b.A.String())
}

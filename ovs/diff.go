// SPDX-License-Identifier: Apache-2.0

package ovs

import "fmt"

// Op is what a Change does.
type Op string

// The operations, in the order in which Diff lists them: a flow never refers to
// a group that is not there.
const (
	AddGroup     Op = "add group"
	ReplaceGroup Op = "replace group"
	AddFlow      Op = "add flow"
	ReplaceFlow  Op = "replace flow"
	RemoveFlow   Op = "remove flow"
	RemoveGroup  Op = "remove group"
)

// touchFlow writes what is there already; if it is not, or not ours, nothing.
const touchFlow Op = "touch flow"

// Change is one step from one pipeline to another.
type Change struct {
	Op    Op
	Flow  Flow  // of the flow operations
	Group Group // of the group operations
}

func (c Change) String() string { return c.text(names{}) }

func (c Change) text(n names) string {
	if c.ofGroup() {
		return fmt.Sprintf("%s %s", c.Op, c.Group.text(n))
	}
	return fmt.Sprintf("%s %s", c.Op, c.Flow.text(n))
}

func (c Change) ofGroup() bool {
	return c.Op == AddGroup || c.Op == ReplaceGroup || c.Op == RemoveGroup
}

// Diff lists the steps from installed to wanted, in the order in which a bundle
// must apply them. What is an operator's (Cookie.Ours, GroupID.Ours) stays,
// also where it holds the place of a wanted flow: see Conflicts.
func Diff(installed, wanted Pipeline) []Change {
	flows, staleFlows := diffFlows(installed.Flows, wanted.Flows)
	groups, staleGroups := diffGroups(installed.Groups, wanted.Groups)
	changes := append(groups, flows...)
	changes = append(changes, staleFlows...)
	return append(changes, staleGroups...)
}

// Conflicts lists the wanted flows whose place an operator's flow holds.
func Conflicts(installed, wanted Pipeline) []Flow {
	foreign := make(map[place]bool)
	for _, f := range installed.Flows {
		if !f.Cookie.Ours() {
			foreign[f.place()] = true
		}
	}
	var conflicts []Flow
	for _, f := range wanted.Flows {
		if foreign[f.place()] {
			conflicts = append(conflicts, f)
		}
	}
	return conflicts
}

func diffFlows(installed, wanted []Flow) (writes, removals []Change) {
	there := make(map[place]Flow, len(installed))
	for _, f := range installed {
		there[f.place()] = f
	}
	keep := make(map[place]bool, len(wanted))
	for _, f := range wanted {
		at := f.place()
		keep[at] = true
		old, found := there[at]
		switch {
		case !found:
			writes = append(writes, Change{Op: AddFlow, Flow: f})
		case old.Cookie.Ours() && !old.same(f):
			writes = append(writes, Change{Op: ReplaceFlow, Flow: f})
		}
	}
	for _, f := range installed {
		if f.Cookie.Ours() && !keep[f.place()] {
			removals = append(removals, Change{Op: RemoveFlow, Flow: f})
		}
	}
	return writes, removals
}

func diffGroups(installed, wanted []Group) (writes, removals []Change) {
	there := make(map[GroupID]Group, len(installed))
	for _, g := range installed {
		there[g.ID] = g
	}
	keep := make(map[GroupID]bool, len(wanted))
	for _, g := range wanted {
		keep[g.ID] = true
		old, found := there[g.ID]
		switch {
		case !found:
			writes = append(writes, Change{Op: AddGroup, Group: g})
		case !old.same(g):
			writes = append(writes, Change{Op: ReplaceGroup, Group: g})
		}
	}
	for _, g := range installed {
		if g.ID.Ours() && !keep[g.ID] {
			removals = append(removals, Change{Op: RemoveGroup, Group: g})
		}
	}
	return writes, removals
}

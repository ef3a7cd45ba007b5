// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"cmp"
	"slices"
	"strings"
)

// Pipeline is the content of a switch, or the part of it that is ours: a value.
type Pipeline struct {
	Flows  []Flow
	Groups []Group
}

// String lists groups and flows as ovs-ofctl prints them, with numbers.
func (p Pipeline) String() string { return p.lines(names{}) }

// Text lists groups and flows as ovs-ofctl --names prints them.
func (p Pipeline) Text(ports []Port) string { return p.lines(newNames(ports)) }

func (p Pipeline) lines(n names) string {
	var b strings.Builder
	for _, g := range p.Groups {
		b.WriteString(g.text(n) + "\n")
	}
	for _, f := range p.Flows {
		b.WriteString(f.text(n) + "\n")
	}
	return b.String()
}

// sort puts groups in the order of their ids, flows in the order of tables and
// falling priority.
func (p *Pipeline) sort() {
	slices.SortFunc(p.Groups, func(a, b Group) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(p.Flows, func(a, b Flow) int {
		return cmp.Or(
			cmp.Compare(a.Table, b.Table),
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(a.Match.text(names{}), b.Match.text(names{})),
		)
	})
}

// withRound stamps the leader's term into all cookies.
func (p Pipeline) withRound(round uint16) Pipeline {
	flows := slices.Clone(p.Flows)
	for i := range flows {
		flows[i].Cookie = flows[i].Cookie.withRound(round)
	}
	return Pipeline{Flows: flows, Groups: p.Groups}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// conclude does what findings ask for. What nobody has is not condemned before its record
// was looked at: it may have an inspector that is alive.
func (c *guardCore) conclude(findings []finding) (out []guardAction) {
	owned := map[topology.NodeID][]bpf.Flow{}
	var nobodys []finding
	for _, v := range findings {
		if v.outcome == outcomeCondemned {
			nobodys = append(nobodys, v)
			continue
		}
		out = append(out, countStray{v.outcome})
		if v.outcome == outcomeOwned {
			owned[v.owner] = append(owned[v.owner], v.flow)
		}
	}
	if len(nobodys) > 0 {
		out = append(out, lookAgain{nobodys})
	}
	return append(out, attributions(owned)...)
}

// onLookedAgain decides on what nobody has.
func (c *guardCore) onLookedAgain(now time.Time, ev lookedAgain) (out []guardAction) {
	if ev.err != nil {
		return []guardAction{say{slog.LevelError, "records of guarded connections can not be read: orphans are not reset before they talk again",
			[]any{"err", ev.err}}}
	}
	var orphans []finding
	for _, v := range ev.findings {
		g, known := ev.records[v.flow]
		switch {
		case known && isUndecided(g):
			out = append(out, countStray{outcomeUndecided})
		case known && v.held < c.patience(v, g):
			if !c.asking.hold(now, v.suspect) {
				out = append(out, countStray{outcomeOverflow})
			}
		default:
			orphans = append(orphans, v)
		}
	}
	return append(out, c.condemn(now, orphans)...)
}

// patience is how often a connection that nobody has is left to its inspector. One that is
// alive decides by the first segment, which may be lost while those behind it are not; or has
// decided, and tells again whenever that one comes again. If nobody has the connection though its
// client goes on, it was a failed node's, and the word lost. Where the handshake was not
// seen here, a client that talks may have an inspector, too.
func (c *guardCore) patience(v finding, g bpf.Guarded) int {
	switch {
	case g.Inspector == topology.Undecided && v.talks && c.inspected[v.flow.VIP]:
		return 1
	case g.Inspector == topology.Undecided || c.duties.hasFailed(g.Inspector):
		return 0
	case g.Seen < heldFor:
		return 1
	default:
		return heldMost
	}
}

// condemn gives connections to a failed node, of which there may be several: where a
// client named one of them, as owner or inspector, the filter takes no other, and else the
// last one, whose sweep it is.
func (c *guardCore) condemn(now time.Time, orphans []finding) (out []guardAction) {
	maybe, flows := map[topology.NodeID][]bpf.Flow{}, map[topology.NodeID][]bpf.Flow{}
	for _, v := range orphans {
		out = append(out, countStray{outcomeCondemned})
		s := c.sweeps[v.epoch]
		if s == nil {
			continue
		}
		for _, owner := range c.duties.owners(bpf.SlotOf(v.flow.Client, v.flow.VIP)) {
			if owner != s.owner {
				maybe[owner] = append(maybe[owner], v.flow)
			}
		}
		flows[s.owner] = append(flows[s.owner], v.flow)
		s.condemned(now, v.record)
	}
	return append(append(out, attributions(maybe)...), attributions(flows)...)
}

func attributions(flows map[topology.NodeID][]bpf.Flow) (out []guardAction) {
	for _, owner := range slices.Sorted(maps.Keys(flows)) {
		out = append(out, attribute{flows[owner], owner})
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// loadBook is what the core keeps of one service's loads.
type loadBook struct {
	service    state.Service
	loads      *serviceLoads
	exclusions map[topology.NodeID]exclusion

	written bool // table is in the kernel
	table   []bpf.Load
	hashed  []scheduler.Candidate // what the table of homes in the kernel was made of
	shown   setPickable
}

func newLoadBook(now time.Time) *loadBook {
	return &loadBook{loads: newServiceLoads(now, ""), exclusions: map[topology.NodeID]exclusion{}}
}

// forgetWritten makes the next look write again. A nil book forgets nothing.
func (b *loadBook) forgetWritten() {
	if b != nil {
		b.written, b.hashed = false, nil
	}
}

// onLoads brings the load tables up to date; only what changed is written. At
// first it waits until every live node had time to be heard, and until the own
// server was looked at: the tables of a predecessor are better than a guess.
func (c *core) onLoads(now time.Time, totals counts) []action {
	c.counts = totals
	c.vigil.wake(now)
	if !c.watches(now) {
		return nil
	}
	var out []action
	for _, s := range c.services() {
		n, counted := totals[s.ID]
		if counted && c.health[s.Name].checked {
			out = append(out, c.updateLoads(now, c.loads[s.ID], &n)...)
		}
	}
	return out
}

func (c *core) updateLoads(now time.Time, book *loadBook, totals *bpf.Counts) []action {
	standings := c.standings(now, book.service)
	out := book.note(standings)
	wasOpen := book.loads.failOpen
	book.loads.policy = book.service.Policy
	table := book.loads.update(now, c.want.self.ID, standings, &totals.Assigned)
	if open := book.loads.failOpen; open != wasOpen {
		out = append(out, sayFailOpen(book.service.Name, open, len(table)))
	}
	if show := (setPickable{book.service.Name, len(table), book.loads.failOpen}); show != book.shown {
		book.shown = show
		out = append(out, show)
	}
	return append(out, book.write(table)...)
}

// standings looks at every member for one service. Of itself the node takes what
// its last heartbeat said, which is as old as what it knows of the others: by
// fresher numbers it would find itself less loaded, and pick itself more often.
func (c *core) standings(now time.Time, s state.Service) []standing {
	var out []standing
	own := c.told[s.ID]
	for _, n := range nodesByID(c.view) {
		st := standing{node: n.ID, weight: max(1, n.Weight)}
		if n.ID == c.want.self.ID {
			st.incarnation, st.active, st.adopted = c.peers.incarnation, own.Active, own.Adopted[n.ID]
			st.exclusion = excluded(true, n.Draining, c.health[s.Name].healthy, isFull(s, own.Active))
		} else {
			rep, boot, _ := c.peers.of(n.ID, s.ID)
			st.incarnation, st.active, st.adopted = boot, rep.active, rep.adopted
			st.exclusion = excluded(!c.isMissed(now, n.ID, rep.heard), n.Draining, rep.healthy, rep.full)
		}
		if n.State == state.NodeFailed {
			st.exclusion = failed
		}
		out = append(out, st)
	}
	return out
}

// excluded gives the first reason not to pick a node.
func excluded(heard, drained, healthy, isFull bool) exclusion {
	switch {
	case !heard:
		return silent
	case drained:
		return draining
	case !healthy:
		return unhealthy
	case isFull:
		return full
	}
	return pickable
}

// note tells which nodes began or ceased to be excluded.
func (b *loadBook) note(standings []standing) (out []action) {
	for _, st := range standings {
		before, seen := b.exclusions[st.node]
		b.exclusions[st.node] = st.exclusion
		if before == st.exclusion || !seen && st.exclusion == pickable {
			continue
		}
		args := []any{"service", b.service.Name, "node", st.node}
		if st.exclusion == pickable {
			out = append(out, say{slog.LevelInfo, "node is picked again", args})
			continue
		}
		out = append(out, say{slog.LevelInfo, "node is not picked", append(args, "reason", string(st.exclusion))})
	}
	return out
}

func sayFailOpen(service topology.ServiceName, open bool, nodes int) action {
	if open {
		return say{slog.LevelError, "no node is healthy: all that are heard are picked", []any{"service", service, "nodes", nodes}}
	}
	return say{slog.LevelInfo, "a node is healthy again, or none is heard: unhealthy nodes are not picked", []any{"service", service, "nodes", nodes}}
}

// firstLoads replaces the load tables of a node that was taken back, until it has
// listened: they list its former id, and others that are dead by now.
func (c *core) firstLoads(now time.Time) (out []action) {
	for _, s := range c.services() {
		book := c.loads[s.ID]
		if book == nil || book.service.Name != s.Name {
			continue // it is new
		}
		if table := c.firstTable(c.standings(now, s), c.counts[s.ID]); len(table) > 0 {
			out = append(out, book.write(table)...)
		}
	}
	return out
}

// firstTable lists who can be picked as far as is known, else all that are up: a
// table without a node would leave SYNs unanswered. Nothing is in flight yet.
func (c *core) firstTable(standings []standing, totals bpf.Counts) (table []bpf.Load) {
	up := aliveNodes(c.view)
	standings = slices.DeleteFunc(standings, func(st standing) bool { return !up[st.node] })
	known := slices.ContainsFunc(standings, func(st standing) bool { return st.exclusion == pickable })
	for _, st := range standings {
		if st.exclusion == pickable || !known {
			table = append(table, bpf.Load{
				Node: st.node, Weight: st.weight * weightScale, Active: st.active, Settled: totals.Assigned[st.node],
			})
		}
	}
	return table
}

// write asks for what the kernel does not have yet.
func (b *loadBook) write(table []bpf.Load) (out []action) {
	if !b.written || !slices.Equal(table, b.table) {
		b.written, b.table = true, table
		out = append(out, setLoads{b.service.ID, table})
	}
	if !hasHomes(b.service.Policy) {
		b.hashed = nil
		return out
	}
	if of := hashCandidates(table); b.hashed == nil || !slices.Equal(of, b.hashed) {
		b.hashed = of
		out = append(out, setSourceHash{b.service.ID, scheduler.SourceHash(of)})
	}
	return out
}

// hasHomes tells whether a policy needs the source-hash table: where the hash is of a key
// in the request, it names the homes.
func hasHomes(p topology.Policy) bool { return p == topology.SourceHash || p.Inspects() }

// hashCandidates keeps what a source-hash table depends on.
func hashCandidates(table []bpf.Load) []scheduler.Candidate {
	out := make([]scheduler.Candidate, len(table))
	for i, l := range table {
		out[i] = scheduler.Candidate{Node: l.Node, Weight: l.Weight}
	}
	return out
}

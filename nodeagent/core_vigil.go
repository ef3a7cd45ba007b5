// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// followPeers makes peers and vigil follow the View.
func (c *core) followPeers() {
	c.roster = wantRoster(c.view)
	c.peers.become(c.want.self.ID)
	c.peers.keep(c.roster)
	c.vigil.keep(c.roster)
	c.vigil.interval, c.vigil.patience = time.Duration(c.view.Cluster.HeartbeatInterval), c.patience()
}

// expectPeers makes an agent that starts miss those that must have been sending
// heartbeats for long. Who comes later is missed from the first one on: it may
// have its reasons to begin late.
func (c *core) expectPeers(now time.Time) {
	for name, a := range c.view.Agents {
		if n := c.view.Nodes[name]; n.State == state.NodeUp && n.ID.Valid() && a.SlotEpoch > 0 {
			c.peers.expect(now, n.ID, parseIncarnation(a.Incarnation))
		}
	}
}

// watches tells whether the node is in a position to judge others: its tables
// are in the kernel, and it had time to hear them.
func (c *core) watches(now time.Time) bool {
	return c.installed && !c.fall.down() && !now.Before(c.listening)
}

// onWatch looks for silent nodes.
func (c *core) onWatch(now time.Time) []action {
	if !c.watches(now) {
		return nil
	}
	due, changed := c.vigil.look(now, c.peers.known)
	var out []action
	if len(due) > 0 {
		out = append(out, ask{c.questionsOf(due)})
	}
	for _, id := range changed {
		out = append(out, c.tellPresence(id))
	}
	return append(out, c.followSuspects()...)
}

func (c *core) questionsOf(due []asking) []bpf.Question {
	var out []bpf.Question
	for _, q := range due {
		out = append(out, bpf.Question{
			Kind: bpf.AskAlive, Asked: q.node, Nonce: q.nonce, From: c.about.MAC, To: c.want.members[q.node],
		})
	}
	return out
}

// onAnswer hands an answer to who asked.
func (c *core) onAnswer(now time.Time, a bpf.Answer) []action {
	if a.Kind != bpf.AskAlive || !c.vigil.answered(now, a.Asked, a.Nonce) {
		return nil
	}
	return append([]action{c.tellPresence(a.Asked)}, c.followSuspects()...)
}

// onSpeculated counts a SYN that this node answered in its primary's place. A slot
// may have got another primary since: nobody, or this node itself.
func (c *core) onSpeculated(now time.Time, primary topology.NodeID) []action {
	if primary == topology.Undecided || primary == c.want.self.ID {
		return nil
	}
	if !c.watches(now) || !c.vigil.speculated(primary) {
		return nil
	}
	// A node that stalls for a moment comes and goes this way: the metrics tell.
	told := say{slog.LevelDebug, "node leaves SYNs unanswered: as its secondary this one answers at once until it is heard",
		[]any{"node", c.nameOf(primary)}}
	return append([]action{told}, c.followSuspects()...)
}

// onHeard clears a node that was silent.
func (c *core) onHeard(id topology.NodeID) []action {
	was := c.vigil.of(id)
	if !c.vigil.heard(id) {
		return nil
	}
	if was == present {
		return c.followSuspects()
	}
	return append([]action{c.tellPresence(id)}, c.followSuspects()...)
}

// isMissed tells whether a node that was heard at that time is not picked. Who
// leaves SYNs unanswered is missed already when a heartbeat is late, and not only
// when its silence has lasted.
func (c *core) isMissed(now time.Time, id topology.NodeID, heard time.Time) bool {
	silence := c.vigil.silence(now, heard)
	return c.vigil.of(id) != present || heard.IsZero() || silence > c.patience() || slices.Contains(c.suspects, id) && silence > c.vigil.interval*3/2
}

func (c *core) tellPresence(id topology.NodeID) action {
	args := []any{"node", c.nameOf(id)}
	switch c.vigil.of(id) {
	case agentless:
		return say{slog.LevelWarn, "node is agentless: no heartbeats, but its programs answer", args}
	case suspected:
		return say{slog.LevelWarn, "node is suspected: no heartbeats, and no answer to questions", args}
	}
	return say{slog.LevelInfo, "node is heard again", args}
}

// followSuspects brings the programs and the metrics up to date, the load
// tables soon, and the record at once: others may wait for a second reporter.
func (c *core) followSuspects() []action {
	var out []action
	suspects := c.vigil.suspects()
	if !c.suspectsSet || !slices.Equal(suspects, c.suspects) {
		c.suspectsSet, c.suspects = true, suspects
		out = append(out, setSuspected{suspects}, scheduleLoads{})
	}
	return append(out, c.report(false)...)
}

// suspicions is what the node's record says of the others; nil: nothing.
func (c *core) suspicions() map[topology.NodeName]state.Suspicion {
	var out map[topology.NodeName]state.Suspicion
	if c.fall.down() {
		return nil
	}
	for id, w := range c.vigil.watched {
		p := c.peers.known[id]
		if w.presence == present || p == nil {
			continue
		}
		if out == nil {
			out = map[topology.NodeName]state.Suspicion{}
		}
		out[c.nameOf(id)] = state.Suspicion{
			Since: p.heard.UTC(), Agentless: w.presence == agentless, Incarnation: formatIncarnation(w.incarnation),
		}
	}
	return out
}

// nameOf gives the name of a member; its id where it has none.
func (c *core) nameOf(id topology.NodeID) topology.NodeName {
	for name, n := range c.view.Nodes {
		if n.ID == id {
			return name
		}
	}
	return topology.NodeName(id.String())
}

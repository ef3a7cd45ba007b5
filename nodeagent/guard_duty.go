// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// duty is a failed and fenced node in whose place this node acts, for the
// connections of some slots.
type duty struct {
	epoch uint64
	node  topology.NodeName
	owner topology.NodeID // that the node had
	left  bool            // it is back under another id
	slots []bool          // of topology.SlotCount
	heir  []bool          // likewise: those in which the guard is dead too
}

// duties is what a View asks of this node as a guard.
type duties struct {
	duties []duty // by epoch
	askees []askee
	until  time.Time // when the View asks for less by itself; zero: never
}

// askee is another node that may have a connection: who-has is asked of it.
type askee struct {
	id  topology.NodeID
	mac topology.MAC
}

// wantDuties reads a View for one node. A failure counts once the fence is in
// force, and for a cookie's lifetime after the node was back: as long may a
// client's segment name the id that it had. A node that has failed itself acts for
// nobody.
func wantDuties(now time.Time, v state.View, name topology.NodeName, tables guardTables) duties {
	self, known := v.Nodes[name]
	if v.Cluster == nil || !known || !self.ID.Valid() || self.State == state.NodeFailed {
		return duties{}
	}
	out := duties{askees: wantAskees(v, name)}
	lifetime := cookieLifetime(time.Duration(v.Cluster.CookieRotate))
	for _, epoch := range slices.Sorted(maps.Keys(v.Failures)) {
		f := v.Failures[epoch]
		if f.Fenced == nil || f.Left != nil && !now.Before(f.Left.Add(lifetime)) {
			continue
		}
		if f.Left != nil {
			out.until = earlier(out.until, f.Left.Add(lifetime))
		}
		d := duty{epoch: epoch, node: f.Node, owner: f.ID, left: f.Left != nil,
			slots: make([]bool, topology.SlotCount), heir: make([]bool, topology.SlotCount)}
		first := tables.of(f, nil)
		for slot, guard := range tables.of(f, deadBeside(v, f)) {
			d.slots[slot] = guard == self.ID
			d.heir[slot] = guard == self.ID && first[slot] != self.ID
		}
		out.duties = append(out.duties, d)
	}
	return out
}

// deadBeside gives the ids whose nodes can not guard what f left behind: their
// failure is fenced, so that another may take their place, and nobody has been
// given the id since.
func deadBeside(v state.View, f state.Failure) []topology.NodeID {
	alive := map[topology.NodeID]bool{}
	for _, n := range v.Nodes {
		alive[n.ID] = alive[n.ID] || n.State != state.NodeFailed
	}
	var dead []topology.NodeID
	for _, other := range v.Failures {
		if other.Fenced != nil && other.ID != f.ID && !alive[other.ID] {
			dead = append(dead, other.ID)
		}
	}
	slices.Sort(dead)
	return slices.Compact(dead)
}

// wantAskees names the other nodes that may have sockets: not those that were
// never seen, nor those behind a fence, whose answers would not count.
func wantAskees(v state.View, name topology.NodeName) []askee {
	var out []askee
	for _, n := range v.Nodes {
		f, failed := v.Failures[n.Failure]
		fenced := n.State == state.NodeFailed && failed && f.Fenced != nil
		mac := macOf(v, n)
		if n.Name != name && n.ID.Valid() && n.State != state.NodeExpected && !fenced && !mac.IsZero() {
			out = append(out, askee{n.ID, mac})
		}
	}
	slices.SortFunc(out, func(a, b askee) int { return cmp.Compare(a.id, b.id) })
	return out
}

// macOf is the leader's word, else the agent's own.
func macOf(v state.View, n state.Node) topology.MAC {
	if n.MAC.IsZero() {
		return v.Agents[n.Name].MAC
	}
	return n.MAC
}

// of gives the duty for a connection in the slot, whoever owned it: the newest.
// nil: there is none.
func (d duties) of(slot int) *duty {
	for i := len(d.duties) - 1; i >= 0; i-- {
		if d.duties[i].slots[slot] {
			return &d.duties[i]
		}
	}
	return nil
}

// owners gives the failed nodes for which this one acts in the slot.
func (d duties) owners(slot int) (ids []topology.NodeID) {
	for _, each := range d.duties {
		if each.slots[slot] {
			ids = append(ids, each.owner)
		}
	}
	return ids
}

// hasFailed tells whether a node is a failed and fenced one, whoever acts for it.
func (d duties) hasFailed(id topology.NodeID) bool {
	return slices.ContainsFunc(d.duties, func(each duty) bool { return each.owner == id })
}

// failed gives the duties as the filter takes them.
func (d duties) failed() []bpf.Failed {
	out := make([]bpf.Failed, 0, len(d.duties))
	for _, each := range d.duties {
		out = append(out, bpf.Failed{ID: each.owner, Acts: each.slots, Heir: each.heir})
	}
	return out
}

func (d duty) count() (slots int) {
	for _, acts := range d.slots {
		if acts {
			slots++
		}
	}
	return slots
}

// guardTables remembers the guards by failure and by who else is dead: Views come
// often, and most change neither.
type guardTables map[string][]topology.NodeID

func (t guardTables) of(f state.Failure, dead []topology.NodeID) []topology.NodeID {
	key := fmt.Sprintf("%d %d %x %s %x", f.Epoch, f.ID, f.SlotNodes, f.SlotSchedulers, dead)
	if t[key] == nil {
		if len(t) >= 1024 {
			clear(t)
		}
		t[key] = scheduler.Guards(f.SlotNodes, f.SlotSchedulers, f.ID, dead)
	}
	return t[key]
}

// earlier gives the earlier of two times; a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

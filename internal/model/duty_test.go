// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// duty is a failure and who acts for it, by slot, as one View tells; the agent's
// guard_duty.go has the same rule.
type duty struct {
	epoch  uint64
	owner  topology.NodeID
	guards []topology.NodeID
}

// dutiesOf reads a View for one node.
func (w *world) dutiesOf(v state.View, name topology.NodeName) (out []duty) {
	if v.Nodes[name].State == state.NodeFailed {
		return nil
	}
	lifetime := 2 * time.Duration(v.Cluster.CookieRotate)
	for _, epoch := range slices.Sorted(maps.Keys(v.Failures)) {
		f := v.Failures[epoch]
		if f.Fenced == nil && !w.rules.actsUnfenced || f.Left != nil && !w.now.Before(f.Left.Add(lifetime)) {
			continue
		}
		out = append(out, duty{epoch, f.ID, guardsOf(f, w.deadBeside(v, f))})
	}
	return out
}

// deadBeside gives the ids whose nodes can not guard what f left behind.
func (w *world) deadBeside(v state.View, f state.Failure) (dead []topology.NodeID) {
	alive := map[topology.NodeID]bool{}
	for _, n := range v.Nodes {
		alive[n.ID] = alive[n.ID] || n.State != state.NodeFailed
	}
	for _, epoch := range slices.Sorted(maps.Keys(v.Failures)) {
		other := v.Failures[epoch]
		fenced := other.Fenced != nil || w.rules.replacesUnfenced
		if fenced && other.ID != f.ID && !alive[other.ID] {
			dead = append(dead, other.ID)
		}
	}
	slices.Sort(dead)
	return slices.Compact(dead)
}

// guards remembers tables, which many worlds have in common.
var guards = map[string][]topology.NodeID{}

func guardsOf(f state.Failure, dead []topology.NodeID) []topology.NodeID {
	key := fmt.Sprintf("%d %x %s %x", f.ID, f.SlotNodes, f.SlotSchedulers, dead)
	if guards[key] == nil {
		guards[key] = scheduler.Guards(f.SlotNodes, f.SlotSchedulers, f.ID, dead)
	}
	return guards[key]
}

// askees are the other nodes that may have sockets, as a View tells.
func askees(v state.View, name topology.NodeName) (out []state.Node) {
	for _, other := range slices.Sorted(maps.Keys(v.Nodes)) {
		n := v.Nodes[other]
		fenced := n.State == state.NodeFailed && v.Failures[n.Failure].Fenced != nil
		if other != name && n.ID.Valid() && n.State != state.NodeExpected && !fenced {
			out = append(out, n)
		}
	}
	return out
}

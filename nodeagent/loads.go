// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// standing is what speaks for and against one node as an owner of one
// service's next connection.
type standing struct {
	node        topology.NodeID
	weight      uint16 // as configured
	incarnation uint64
	exclusion   exclusion
	active      uint32
	adopted     uint64 // of what this node assigned
}

// exclusion is why a node is not picked.
type exclusion string

const (
	pickable  exclusion = ""
	failed    exclusion = "failed" // declared so; it comes back under another id
	silent    exclusion = "silent" // no heartbeat of late, or suspected
	draining  exclusion = "draining"
	unhealthy exclusion = "unhealthy"
	full      exclusion = "full"
)

// serviceLoads turns standings into the load table of one service, from one
// moment to the next.
type serviceLoads struct {
	since    time.Time // this agent knows the service
	policy   topology.Policy
	nodes    map[topology.NodeID]*nodeLoad
	failOpen bool // no node is healthy: unhealthy ones are listed
}

// nodeLoad is what is remembered of a node between two tables.
type nodeLoad struct {
	account ledger
	calm    calm
	warm    warmth
	boot    uint64 // incarnation last heard, 0: none
	listed  bool
	weight  uint16 // in the last table that listed it
	base    uint64
}

func newServiceLoads(now time.Time, policy topology.Policy) *serviceLoads {
	return &serviceLoads{since: now, policy: policy, nodes: map[topology.NodeID]*nodeLoad{}}
}

// update gives the load table in force from now. assigned is this scheduler's
// total by node. The list begins with self and goes on in the order of ids: where
// all is equal the first listed is picked, and all schedulers would pick the same.
func (s *serviceLoads) update(now time.Time, self topology.NodeID, all []standing, assigned *[256]uint64) []bpf.Load {
	listed := s.choose(all)
	s.forget(all)
	table := make([]bpf.Load, 0, len(listed))
	for _, st := range all {
		n := s.node(now, st)
		st = n.calm.over(now, st)
		isListed := slices.Contains(listed, st.node)
		n.warm.pass(now, n.listed || s.isNew(now))
		settled := n.account.settle(now, assigned[st.node], st.adopted, st.incarnation)
		if !isListed {
			n.listed = false
			continue
		}
		table = append(table, bpf.Load{Node: st.node, Weight: n.warm.weight(st.weight), Active: st.active, Settled: settled})
	}
	s.rebase(table, assigned)
	slices.SortFunc(table, func(a, b bpf.Load) int { return int(a.Node-self) - int(b.Node-self) })
	return table
}

// choose lists the nodes that may be picked. Where none is healthy it fails
// open: all that are heard and not draining are listed.
func (s *serviceLoads) choose(all []standing) (listed []topology.NodeID) {
	var alive []topology.NodeID
	healthy := false
	for _, st := range all {
		switch st.exclusion {
		case pickable:
			listed = append(listed, st.node)
			healthy = true
		case full:
			healthy = true
		case unhealthy:
			alive = append(alive, st.node)
		}
	}
	s.failOpen = !healthy && len(alive) > 0
	if s.failOpen {
		return alive
	}
	return listed
}

// node finds or makes the memory of a node. While this agent or the service is
// new all nodes are warm, so that a cluster that starts is even from the first
// connection; who comes later, or from a reboot, is cold.
func (s *serviceLoads) node(now time.Time, st standing) *nodeLoad {
	n := s.nodes[st.node]
	if n == nil {
		n = &nodeLoad{boot: st.incarnation, warm: warmth{at: now, level: oneIf(s.isNew(now))}}
		s.nodes[st.node] = n
	}
	if st.incarnation != 0 && st.incarnation != n.boot {
		if n.boot != 0 {
			n.warm.level = 0
		}
		n.boot = st.incarnation
	}
	return n
}

// isNew tells whether this agent, or the service, is new.
func (s *serviceLoads) isNew(now time.Time) bool { return now.Sub(s.since) < slowStart }

// forget drops nodes that are not members any more.
func (s *serviceLoads) forget(all []standing) {
	for id := range s.nodes {
		if !slices.ContainsFunc(all, func(st standing) bool { return st.node == id }) {
			delete(s.nodes, id)
		}
	}
}

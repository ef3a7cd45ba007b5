// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"slices"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// node is a machine: its kernel, its agent, its port on the switch.
type node struct {
	name   topology.NodeName
	number byte
	boot   int
	runs   bool // the machine
	hung   bool // all its processes are stopped
	kernel *kernel
	queue  []segment // copies on their way to it: they outlive its fence
	port   port

	// The agent's: all but the last are gone with its process.
	serves   bool // it runs
	ready    bool // it has brought an id into the kernel
	view     state.View
	suspects map[topology.NodeName]state.Suspicion
}

// port is the node's on the switch.
type port struct {
	down   bool // no carrier
	tabled bool // fenced, in the tables
	fenced bool // and in force for packets
}

func (n *node) incarnation() string { return fmt.Sprintf("%s-boot-%d", n.name, n.boot) }

// start boots the machine, and its agent.
func (n *node) start() {
	n.boot++
	n.runs, n.hung = true, false
	n.kernel = newKernel()
	n.startAgent()
}

func (n *node) startAgent() {
	n.serves, n.ready, n.suspects = true, false, map[topology.NodeName]state.Suspicion{}
	n.view = state.View{}
}

// crash ends the machine, with all that was on its way into it.
func (n *node) crash() {
	n.runs, n.serves, n.queue = false, false, nil
	n.kernel = newKernel()
}

// acts tells whether the agent can do anything.
func (n *node) acts() bool { return n.runs && n.serves && !n.hung }

// see takes the newest View and does what it asks for: nodeagent/core.go.
func (w *world) see(n *node) {
	v := w.control.view
	n.view = v
	have, known := v.Nodes[n.name]
	if v.Cluster == nil || v.Cookie == nil || !known || !have.ID.Valid() {
		return
	}
	if have.State == state.NodeFailed {
		w.fall(n, have)
		return
	}
	if !n.ready && have.Incarnation != "" && have.Incarnation != n.incarnation() {
		return // the id is an earlier boot's
	}
	n.ready = true
	w.install(n, have.ID)
}

// fall stands down at the news of the node's own failure: standdown.go. That all
// sockets are gone is another step.
func (w *world) fall(n *node, have state.Node) {
	n.kernel.duties = nil
	f, there := n.view.Failures[have.Failure]
	if there && f.Incarnation != n.incarnation() && f.Incarnation != "" && !n.ready {
		return
	}
	n.kernel.stoodDown = true
}

// clear destroys the sockets of a node that stood down.
func (w *world) clear(n *node) {
	k, failure := n.kernel, n.view.Nodes[n.name].Failure
	if !k.stoodDown || n.view.Nodes[n.name].State != state.NodeFailed {
		return
	}
	if !w.rules.keepsSockets {
		k.destroy()
	}
	k.cleared = max(k.cleared, failure)
}

// install brings a View into the kernel: tables.go, handover.go, guard_duty.go.
func (w *world) install(n *node, id topology.NodeID) {
	k, v := n.kernel, n.view
	if k.self != id {
		k.stoodDown = false
	}
	k.self = id
	k.keys = v.Cookie.Epoch
	k.duties = w.dutiesOf(v, n.name)
	k.pickable, k.alive = nil, map[topology.NodeID]bool{}
	for _, other := range sortedNodes(v) {
		_, suspected := n.suspects[other.Name]
		k.alive[other.ID] = other.State == state.NodeUp
		if other.State == state.NodeUp && !suspected {
			k.pickable = append(k.pickable, other.ID)
		}
	}
	k.handOver(v)
}

// handOver puts a slot table in force. Who answered by those before does so too,
// until all agents have the new one.
func (k *kernel) handOver(v state.View) {
	if v.Slots == nil {
		return
	}
	if k.slots != nil && k.slots.Epoch != v.Slots.Epoch {
		k.former, k.before = append(k.former, k.slots), k.slots
	}
	k.slots = v.Slots
	for _, n := range v.Nodes {
		if a, alive := v.Agents[n.Name]; alive && n.State == state.NodeUp && a.SlotEpoch < v.Slots.Epoch {
			return
		}
	}
	k.former = nil
}

// publish writes the agent's record.
func (w *world) publish(n *node) {
	a := state.Agent{
		Schema: state.Schema, Name: n.name, Incarnation: n.incarnation(), MAC: topology.MAC{2, 0, 0, 0, 0, n.number},
		Cleared: n.kernel.cleared, Services: map[topology.ServiceName]state.AgentHealth{service: {Healthy: true}},
	}
	if n.kernel.slots != nil {
		a.SlotEpoch = n.kernel.slots.Epoch
	}
	if n.kernel.works() {
		a.Suspects = copyMap(n.suspects)
	}
	w.control.putAgent(a)
}

// suspect hears nothing of another, or hears it again.
func (w *world) suspect(n, other *node, silent bool) {
	if !silent {
		delete(n.suspects, other.name)
		return
	}
	boot := n.view.Agents[other.name].Incarnation
	if boot == "" {
		boot = n.view.Nodes[other.name].Incarnation
	}
	agentless := other.runs && !other.port.down && !other.acts()
	n.suspects[other.name] = state.Suspicion{Since: w.now, Agentless: agentless, Incarnation: boot}
}

func sortedNodes(v state.View) (out []state.Node) {
	for _, n := range v.Nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b state.Node) int { return int(a.ID) - int(b.ID) })
	return out
}

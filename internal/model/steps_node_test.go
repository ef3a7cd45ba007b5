// SPDX-License-Identifier: Apache-2.0

package model

import (
	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func (w *world) crash(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.runs })
	w.say("%s crashes", n.name)
	n.crash()
}

func (w *world) boot(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return !n.runs })
	w.say("%s boots", n.name)
	n.start()
}

func (w *world) hang(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.runs })
	n.hung = !n.hung
	w.say("%s hangs: %t", n.name, n.hung)
	for _, c := range w.conns {
		if sock := n.kernel.sockets[c]; sock != nil {
			w.serve(n, c, sock)
		}
	}
}

func (w *world) toggleAgent(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.runs && !n.hung })
	w.say("%s's agent runs: %t", n.name, !n.serves)
	if n.serves {
		n.serves = false
		return
	}
	n.startAgent()
}

func (w *world) toggleLink(t *rapid.T) {
	n := w.oneNode(t, func(*node) bool { return true })
	n.port.down = !n.port.down
	w.say("%s's link is down: %t", n.name, n.port.down)
}

// heal ends what has not brought a failure about.
func (w *world) heal(*rapid.T) {
	w.say("all is well again")
	w.control.away = false
	for _, n := range w.nodes {
		n.port.down = false
		n.hung = false
		if n.runs && !n.serves {
			n.startAgent()
		}
		n.suspects = map[topology.NodeName]state.Suspicion{}
	}
	w.everybody(w.publish)
}

// everybody is all agents that can do anything.
func (w *world) everybody(do func(*node)) {
	for _, n := range w.nodes {
		if n.acts() {
			do(n)
		}
	}
}

// suspicion is of one by one, false or not.
func (w *world) suspicion(t *rapid.T) {
	n := w.oneNode(t, (*node).acts)
	other := w.oneNode(t, func(other *node) bool { return other != n })
	w.suspect(n, other, rapid.IntRange(0, 3).Draw(t, "heard") > 0)
	w.publish(n)
}

// ownerSilent is that all hear nothing of a node that has a connection, or would.
func (w *world) ownerSilent(t *rapid.T) {
	c := w.oneConn(t, open)
	for _, n := range w.nodes {
		if n.kernel.self == c.cookie.owner {
			w.miss(n)
			return
		}
	}
	t.SkipNow()
}

// storm is that all hear nothing of one.
func (w *world) storm(t *rapid.T) {
	w.miss(w.oneNode(t, func(*node) bool { return true }))
}

// miss is that nobody hears one node.
func (w *world) miss(silent *node) {
	w.say("nobody hears %s", silent.name)
	for _, n := range w.nodes {
		if n != silent && n.acts() {
			w.suspect(n, silent, true)
			w.publish(n)
		}
	}
}

func (w *world) agentSees(t *rapid.T) {
	n := w.oneNode(t, (*node).acts)
	w.see(n)
	w.say("%s sees what is stored; its id is %d, stood down: %t", n.name, n.kernel.self, n.kernel.stoodDown)
}

func (w *world) allSee(t *rapid.T) {
	w.say("all see what is stored")
	w.everybody(w.see)
}

func (w *world) agentClears(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.acts() && n.kernel.stoodDown })
	w.clear(n)
	w.publish(n)
	w.say("%s has cleared failure %d", n.name, n.kernel.cleared)
}

func (w *world) agentPublishes(t *rapid.T) { w.publish(w.oneNode(t, (*node).acts)) }

func (w *world) leaseEnds(t *rapid.T) {
	n := w.oneNode(t, func(*node) bool { return true })
	w.say("%s's lease ends", n.name)
	w.control.dropAgent(n.name)
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const (
	mostNodes = 6
	mostConns = 10
	service   = topology.ServiceName("web")
	theSwitch = topology.SwitchName("s1")
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// world is a cluster and its clients: the leader's and the schedulers' decisions
// are the real ones, all else is played.
type world struct {
	rules   rules
	replay  bool // requests may run twice
	now     time.Time
	nodes   []*node
	conns   []*conn
	answers []answer // on their way to clients
	control *control
	said    []string // what happened
	broken  string   // the first violation
}

// newWorld is a cluster at work, or one with a node that was never seen.
func newWorld(t *rapid.T, r rules) *world {
	config := topology.Default()
	config.Name = "model"
	config.Failure.Grace = 5 * time.Second // much less than ids rest: only idsRest takes long
	config.Schedulers = rapid.SampledFrom([]topology.Schedulers{topology.AllSchedulers, topology.OneScheduler}).Draw(t, "schedulers")
	config.Switches = []topology.Switch{{Name: theSwitch}}
	w := &world{rules: r, now: noon, replay: rapid.Bool().Draw(t, "replay")}
	web := topology.Service{Name: service, VIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Port: 80,
		Policy: topology.LeastConnection, Replay: topology.ReplayUnsafe}
	if w.replay {
		web.Replay = topology.ReplaySafe
	}
	config.Services = []topology.Service{web}
	for i := range rapid.IntRange(2, mostNodes).Draw(t, "nodes") {
		n := &node{name: topology.NodeName(fmt.Sprintf("n%d", i+1)), number: byte(i + 1), kernel: newKernel()}
		w.nodes = append(w.nodes, n)
		config.Nodes = append(config.Nodes, topology.Node{Name: n.name, Switch: theSwitch, Port: string(n.name), Weight: 1})
	}
	w.control = newControl(config)
	for _, n := range w.nodes[:max(2, len(w.nodes)-rapid.IntRange(0, 1).Draw(t, "unseen"))] {
		n.start()
		w.publish(n)
	}
	w.catchUp(t)
	for range rapid.IntRange(0, 3).Draw(t, "conns") {
		w.greet(t)
	}
	return w
}

// greet begins a connection: the ACK that names its owner is on its way.
func (w *world) greet(t *rapid.T) {
	if len(w.conns) >= mostConns {
		t.SkipNow()
	}
	w.flood(w.newConn(drawSlot(t)).speak())
	w.arriveAll(t)
	w.hearAll()
}

func drawSlot(t *rapid.T) int { return rapid.IntRange(0, topology.SlotCount-1).Draw(t, "slot") }

func (w *world) node(name topology.NodeName) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// say notes what happened, for who reads of a violation.
func (w *world) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// violated notes a violation. Only the first one counts.
func (w *world) violated(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...) + "\nafter\n  " + strings.Join(w.said, "\n  ")
	}
}

// tick lets time pass.
func (w *world) tick(d time.Duration) { w.now = w.now.Add(d) }

// round lets the leader, the switch and the agents that can do what is to be done.
func (w *world) round(t *rapid.T) {
	w.control.look()
	w.decide()
	w.applyTables()
	w.settle(t)
	w.decide()
	w.everybody(w.see)
	w.everybody(w.clear)
	w.everybody(w.publish)
	w.check()
}

// catchUp lets the cluster come to rest: all that is to be known is known to all.
func (w *world) catchUp(t *rapid.T) {
	w.everybody(w.publish)
	for range 8 {
		before := w.control.view
		w.round(t)
		w.tick(2 * time.Second)
		if w.broken != "" || isSettled(before, w.control.view) {
			return
		}
	}
}

// isSettled tells whether one round changed nothing of the membership.
func isSettled(before, after state.View) bool {
	if before.Slots == nil || before.Slots.Epoch != after.Slots.Epoch || len(before.Failures) != len(after.Failures) {
		return false
	}
	for name, n := range after.Nodes {
		if before.Nodes[name] != n {
			return false
		}
		if f := after.Failures[n.Failure]; f.Fenced != nil && before.Failures[n.Failure].Fenced == nil {
			return false
		}
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onevip/onevip/controller"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// control is the store and whoever leads: one controller after another.
type control struct {
	config  topology.Cluster
	view    state.View                        // what is stored
	agents  map[topology.NodeName]state.Agent // as the leader has seen them
	fenced  map[uint64]bool                   // that the leader knows of
	orders  []uint64                          // fences in the tables, not known to be in force
	away    bool                              // the switch is not connected
	elected bool                              // just now
}

func newControl(config topology.Cluster) *control {
	return &control{config: config, fenced: map[uint64]bool{}, elected: true, view: state.View{Term: 1, Leader: "c1"}}
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	maps.Copy(out, m)
	return out
}

func (c *control) putAgent(a state.Agent) {
	c.view.Agents = copyMap(c.view.Agents)
	c.view.Agents[a.Name] = a
}

func (c *control) dropAgent(name topology.NodeName) {
	c.view.Agents = copyMap(c.view.Agents)
	delete(c.view.Agents, name)
}

// look shows the leader what the agents say.
func (c *control) look() { c.agents = c.view.Agents }

// depose has another lead, who fences anew.
func (c *control) depose() {
	c.view.Term++
	c.view.Leader = fmt.Sprintf("c%d", c.view.Term)
	c.fenced, c.orders, c.elected = map[uint64]bool{}, nil, true
	c.look()
}

// input is what the leader knows.
func (w *world) input() controller.Input {
	c := w.control
	in := controller.Input{Config: c.config, View: c.view, Now: w.now, Fenced: copyMap(c.fenced), Elected: c.elected,
		Down: map[topology.NodeName]bool{}, Away: map[topology.SwitchName]bool{theSwitch: c.away}}
	in.View.Agents = c.agents
	for _, n := range w.nodes {
		in.Down[n.name] = n.port.down && !c.away
	}
	return in
}

// decide has the leader decide, and write what it decides. Again, it would find
// nothing to do.
func (w *world) decide() {
	c, before := w.control, w.control.view
	c.apply(controller.Decide(w.input()).Changes)
	if again := controller.Decide(w.input()); len(again.Changes) > 0 {
		w.violated("decided again without need: %+v", again.Changes)
	}
	c.elected = false
	w.checkView(before, c.view)
}

// apply writes changes in one transaction. A View that somebody has stays as it is.
func (c *control) apply(changes []state.Change) {
	v := &c.view
	v.Revision++
	v.Nodes, v.Failures = copyMap(v.Nodes), copyMap(v.Failures)
	v.Services, v.Loads = copyMap(v.Services), copyMap(v.Loads)
	v.Events = slices.Clone(v.Events)
	for _, change := range changes {
		c.write(v, change)
	}
}

func (c *control) write(v *state.View, change state.Change) {
	switch r := change.Record.(type) {
	case state.Cluster:
		v.Cluster = &r
	case state.Slots:
		v.Slots = &r
	case state.CookieKeys:
		v.Cookie = &r
	case state.HeartbeatKey:
		v.Heartbeat = &r
	case state.IDs:
		v.IDs = &r
	case state.Event:
		v.Events = append(v.Events, r)
		v.Events = v.Events[max(0, len(v.Events)-state.EventRing):]
	case state.Node:
		put(v.Nodes, r.Name, r, change.Delete)
	case state.Failure:
		put(v.Failures, r.Epoch, r, change.Delete)
	case state.Service:
		put(v.Services, r.Name, r, change.Delete)
	case state.Load:
		put(v.Loads, r.Service, r, change.Delete)
	default:
		panic("a record that the model does not know")
	}
}

func put[K comparable, V any](m map[K]V, key K, value V, remove bool) {
	if remove {
		delete(m, key)
		return
	}
	m[key] = value
}

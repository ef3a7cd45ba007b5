// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// loadsEvery is the shortest time between two writes of the load summaries.
const loadsEvery = time.Second

// restPeriods is how many periods of the cookie's keys an id rests after its
// owner left. Cookies live for two; one is for nodes that learn of a rotation late.
const restPeriods = 3

// Input is all that a decision of the leader depends on.
type Input struct {
	Config topology.Cluster
	View   state.View
	Now    time.Time
	// LoadsAt is the earliest time for the next write of load summaries.
	LoadsAt time.Time
	// Down are the nodes whose port on the switch has no carrier; Away are the
	// switches that are not connected, whose ports are not known; Back is since
	// when the others are.
	Down map[topology.NodeName]bool
	Away map[topology.SwitchName]bool
	Back map[topology.SwitchName]time.Time
	// Deaf is when nobody heard anybody the last time; zero: never.
	Deaf time.Time
	// Fenced are the failures, by epoch, whose fence is in force at the node's switch.
	Fenced map[uint64]bool
	// Elected: this leader has just been elected, which is an event.
	Elected bool
	// Fresh are random keys, used where keys must be made.
	Fresh FreshKeys
}

// FreshKeys are random bytes for keys.
type FreshKeys struct {
	Cookie    [3][state.CookieKeyLen]byte
	Heartbeat [state.HeartbeatKeyLen]byte
}

// Decision is what the leader shall do.
type Decision struct {
	// Changes of the state. None if the state is as it should be.
	Changes []state.Change
	// Events are what the changes mean, for the log.
	Events []Event
	// Warnings are what is not as it should be and stays so until somebody acts.
	Warnings []Warning
	// Deaf: nobody hears anybody, until there is another decision.
	Deaf bool
	// Next is when to decide again although nothing happened; zero: never.
	Next time.Time
}

// Decide compares what is stored with what the configuration and the agents
// say, and tells the difference. It is pure: equal inputs give equal decisions,
// and a View that shows the changes gives no further ones.
func Decide(in Input) Decision {
	in.Now = in.Now.UTC().Truncate(time.Millisecond)
	d := &decider{Input: in, ids: takeIDs(in.View), epoch: highestEpoch(in.View), returning: map[topology.NodeName]bool{}}
	d.elected()
	d.cluster()
	d.services()
	d.nodes()
	d.restingIDs()
	d.keys()
	epoch, moved := d.slots()
	d.failures(epoch)
	if moved != nil {
		d.put(*moved, Event{Kind: SlotsMoved, Epoch: epoch})
	}
	d.loads()
	d.events()
	d.localities()
	d.problems()
	return d.out
}

// decider gathers a Decision.
type decider struct {
	Input
	ids ids
	// members are the node records as they will be, in the order of the configuration.
	members []state.Node
	// returning are the failed nodes that come back now; judge knows who fails
	// now, suspects are others that are not heard, and failed are these failures.
	returning map[topology.NodeName]bool
	judge     *judge
	suspects  map[topology.NodeName][]topology.NodeName
	failed    []state.Failure
	epoch     uint64 // of the newest failure ever
	out       Decision
}

// put writes a record; the events are what that means.
func (d *decider) put(record any, events ...Event) {
	d.change(state.Change{Record: record}, events)
}

func (d *decider) drop(record any, events ...Event) {
	d.change(state.Change{Record: record, Delete: true}, events)
}

// change leaves alone what this version cannot read: a newer leader may have
// written it, and may be back.
func (d *decider) change(change state.Change, events []Event) {
	if d.View.IsBroken(change.Record) {
		return
	}
	d.out.Changes = append(d.out.Changes, change)
	d.out.Events = append(d.out.Events, events...)
}

func (d *decider) warn(warn Warning) { d.out.Warnings = append(d.out.Warnings, warn) }

// wake asks for a decision at the time given.
func (d *decider) wake(at time.Time) {
	if d.out.Next.IsZero() || at.Before(d.out.Next) {
		d.out.Next = at
	}
}

// rest is how long an id rests.
func (d *decider) rest() time.Duration { return restPeriods * d.Config.Cookie.Rotate }

func (d *decider) cluster() {
	c := d.Config
	want := state.Cluster{
		Schema:            state.Schema,
		Name:              c.Name,
		MAC:               c.MAC,
		Schedulers:        c.Schedulers,
		WindowScale:       c.WindowScale,
		HeartbeatInterval: state.Duration(c.Heartbeat.Interval),
		HeartbeatMisses:   c.Heartbeat.Misses,
		SpeculationDelay:  c.Speculation.Delay,
		SpeculationMirror: c.Speculation.Mirror,
		FailureGrace:      state.Duration(c.Failure.Grace),
		CookieRotate:      state.Duration(c.Cookie.Rotate),
		ConnsMinAge:       state.Duration(c.Conns.MinAge),
		ConnsMaxRate:      c.Conns.MaxRate,
		Created:           d.Now,
	}
	if have := d.View.Cluster; have != nil {
		if want.Created = have.Created; *have == want {
			return
		}
	}
	d.put(want, Event{Kind: ClusterChanged})
}

// problems passes on what the store could not read.
func (d *decider) problems() {
	for _, problem := range d.View.Problems {
		d.warn(Warning{Reason: UnreadableRecord, Text: problem + " (the last good record stays in force; a broken one may be deleted, it is written anew)"})
	}
	for _, name := range sortedKeys(d.View.Agents) {
		known := slices.ContainsFunc(d.Config.Nodes, func(n topology.Node) bool { return n.Name == name })
		if !known {
			d.warn(Warning{Reason: UnknownAgent, Node: name, Text: "an agent runs under a name that is no node of the configuration: add the node, or stop the agent"})
		}
	}
}

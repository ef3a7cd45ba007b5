// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// heardAfter is how many heartbeats' silences a node or a switch that is back is
// given, until what the node says of others, and others of it, or what is said at
// the switch, counts: before, it may be from the time when it was away.
const heardAfter = 2

// verdict is why a node is declared dead.
type verdict struct {
	reason    state.FailureReason
	reporters []topology.NodeName // who suspected it; none where nobody had to
}

// subject is a node that may be judged: one that was seen.
type subject struct {
	name        topology.NodeName
	id          topology.NodeID
	at          topology.SwitchName
	incarnation string
	state       state.NodeState     // as it is unless it fails now
	reason      state.FailureReason // of the failure that it is not back from
	counts      bool                // it is not back for a moment only
}

// judge finds the nodes that are dead. It is pure, as Decide is.
type judge struct {
	Input
	subjects []*subject // the highest id first
	verdicts map[topology.NodeName]verdict
	warnings []Warning
	next     time.Time // when silence that is too short now is long enough; zero: never
}

// newJudge takes the ids that the nodes will have, and those of the failed that
// come back now.
func newJudge(in Input, ids map[topology.NodeName]topology.NodeID, returning map[topology.NodeName]bool) *judge {
	j := &judge{Input: in, verdicts: map[topology.NodeName]verdict{}}
	for _, config := range in.Config.Nodes {
		if s, judged := j.subject(config.Name, ids[config.Name], returning[config.Name]); judged {
			s.at = config.Switch
			j.subjects = append(j.subjects, s)
		}
	}
	slices.SortFunc(j.subjects, func(a, b *subject) int { return cmp.Compare(b.id, a.id) })
	return j
}

// subject leaves out whom nobody has seen, and whose record is not readable:
// nothing can be written about it.
func (j *judge) subject(name topology.NodeName, id topology.NodeID, returns bool) (*subject, bool) {
	have := j.View.Nodes[name]
	agent, alive := j.View.Agents[name]
	s := &subject{name: name, id: id, incarnation: have.Incarnation, state: nextState(have.State, alive), counts: !returns}
	switch {
	case returns:
		s.state, s.incarnation = state.NodeUp, agent.Incarnation
	case have.State == state.NodeFailed:
		s.reason = j.View.Failures[have.Failure].Reason
	case s.incarnation == "":
		s.incarnation = agent.Incarnation
	}
	if f := j.View.Failures[have.Failure]; !returns && have.State != state.NodeFailed && f.Left != nil {
		s.counts = j.passed(f.Left.Add(heardAfter * j.silence()))
	}
	return s, id.Valid() && s.state != state.NodeExpected && !j.View.IsBroken(state.Node{Name: name})
}

// silence is how long a node must be silent to be suspected.
func (j *judge) silence() time.Duration {
	return j.Config.Heartbeat.Interval * time.Duration(j.Config.Heartbeat.Misses)
}

// passed tells whether a time has come, and asks for a decision when it comes.
func (j *judge) passed(at time.Time) bool {
	if !j.Now.Before(at) {
		return true
	}
	if j.next.IsZero() || at.Before(j.next) {
		j.next = at
	}
	return false
}

// run judges until nobody is left to be failed: who is dead reports no more, so
// that another may have no reporters any more, or have all of them.
func (j *judge) run() {
	for _, s := range j.subjects {
		j.certain(s)
	}
	for j.silent() {
	}
	for _, s := range j.subjects {
		j.explain(s)
	}
}

// certain fails whom nobody has to suspect.
func (j *judge) certain(s *subject) {
	if s.state == state.NodeFailed {
		return
	}
	agent, alive := j.View.Agents[s.name]
	switch {
	case alive && s.incarnation != "" && agent.Incarnation != "" && agent.Incarnation != s.incarnation:
		j.fail(s, verdict{reason: state.FailureReboot})
	case j.Down[s.name] && j.isLast(s):
		j.warn(LastNode, s, "its port has no carrier, but it is the last node: it is not declared failed, for nobody could take its place")
	case j.Down[s.name]:
		j.fail(s, verdict{reason: state.FailureLinkDown})
	}
}

func (j *judge) fail(s *subject, v verdict) {
	s.state, s.reason = state.NodeFailed, v.reason
	j.verdicts[s.name] = v
}

func (j *judge) warn(reason WarningReason, s *subject, text string) {
	j.warnings = append(j.warnings, Warning{Reason: reason, Node: s.name, Text: text})
}

// isLast tells whether nobody else is up.
func (j *judge) isLast(s *subject) bool { return len(j.others(s)) == 0 }

// others are the nodes that are up besides this one.
func (j *judge) others(s *subject) []*subject {
	var others []*subject
	for _, other := range j.subjects {
		if other != s && other.state == state.NodeUp {
			others = append(others, other)
		}
	}
	return others
}

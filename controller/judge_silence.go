// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// enoughReporters is how many must suspect a node; where fewer are up, all of them.
const enoughReporters = 2

// ripeAfter is how many intervals a silence lasts beyond the one that makes an agent
// ask: two for its questions, one until the heartbeats of all were due, and one for
// its words to get here. ripeMost is how many are waited for at most.
const (
	ripeAfter = 4
	ripeMost  = 3
)

// silent fails one node that others hear nothing of, the one that most others
// suspect first, and of two the one with the higher id. It tells whether there
// was one.
func (j *judge) silent() bool {
	var dead *subject
	var why verdict
	for _, s := range j.subjects {
		v := j.suspicion(s)
		if len(v.reporters) <= len(why.reporters) {
			continue
		}
		if reason, _ := j.refuse(s, v); reason == "" {
			dead, why = s, v
		}
	}
	if dead == nil {
		return false
	}
	j.fail(dead, why)
	return true
}

// explain warns of a node that is suspected and not failed.
func (j *judge) explain(s *subject) {
	if s.state == state.NodeFailed {
		return
	}
	if v := j.suspicion(s); len(v.reporters) > 0 {
		reason, text := j.refuse(s, v)
		j.warn(reason, s, "suspected by "+names(v.reporters)+" and not declared failed: "+text)
	}
}

// suspicion is what the others say of a node: silence, or where too few say
// that, that its agent was silent for the grace.
func (j *judge) suspicion(s *subject) verdict {
	var silent, agentless []topology.NodeName
	for _, other := range j.others(s) {
		said, suspects := j.View.Agents[other.name].Suspects[s.name]
		if !suspects || s.state == state.NodeFailed || said.Incarnation != s.incarnation || !s.counts || !other.counts {
			continue
		}
		switch {
		case !said.Agentless && !j.ripe(s, said):
		case !said.Agentless:
			silent = append(silent, other.name)
		case j.passed(said.Since.Add(j.Config.Failure.Grace)):
			agentless = append(agentless, other.name)
		}
	}
	v := verdict{reason: state.FailureSilence, reporters: silent}
	if len(agentless) > 0 && len(silent) < j.enough(s) {
		v = verdict{reason: state.FailureAgentless, reporters: append(silent, agentless...)}
	}
	slices.Sort(v.reporters)
	return v
}

// ripe tells whether a silence lasts for so long that who reports it would report
// one of others, too, that began with it: in an outage of all, the node whose
// heartbeat was due next is suspected by all, an interval before they suspect each
// other. By a clock that is unlike ours it can not be told, and is not waited for.
func (j *judge) ripe(s *subject, said state.Suspicion) bool {
	at := said.Since.Add(j.silence() + ripeAfter*j.Config.Heartbeat.Interval)
	return j.enough(s) < enoughReporters || at.Sub(j.Now) > ripeMost*j.Config.Heartbeat.Interval || j.passed(at)
}

// enough is how many reporters it takes.
func (j *judge) enough(s *subject) int { return max(1, min(enoughReporters, len(j.others(s)))) }

// refuse tells why a suspected node must not be failed by silence; an empty
// reason: it may. What is slow or cut off must never take a majority with it.
func (j *judge) refuse(s *subject, v verdict) (WarningReason, string) {
	others := j.others(s)
	if len(v.reporters) < j.enough(s) {
		return OneReporter, "two must say so"
	}
	if len(others) > 1 && !j.hearEachOther(v.reporters) {
		return NobodyHears, "those who say so do not hear each other either: it may be the network that is silent"
	}
	if len(others) > 1 && !j.passed(j.Deaf.Add(heardAfter*j.silence())) {
		return NobodyHears, "nobody heard anybody a moment ago: it may not have been heard again yet"
	}
	// Its agent gone from etcd too is a second witness.
	if len(others) == 1 && s.id < others[0].id && s.state == state.NodeUp {
		return LowerIDStays, "of two the one with the lower id stays as long as its agent reaches etcd"
	}
	if len(others) == 1 && j.switchSilent(s) {
		return SwitchAway, "its switch is not connected or has just come back: it may be the switch that is silent"
	}
	if spent, most := j.budget(); spent >= most {
		return OnlyMinority, fmt.Sprintf("%d of %d nodes failed by silence and are not back, more would be no minority", spent, len(j.subjects))
	}
	return "", ""
}

// hearEachOther tells whether two of these are not silent to one another. Where
// nobody hears anybody, it is not the nodes that are dead.
func (j *judge) hearEachOther(reporters []topology.NodeName) bool {
	for i, a := range reporters {
		for _, b := range reporters[i+1:] {
			if j.hears(a, b) && j.hears(b, a) {
				return true
			}
		}
	}
	return false
}

func (j *judge) hears(listener, other topology.NodeName) bool {
	said, suspects := j.View.Agents[listener].Suspects[other]
	return !suspects || said.Agentless || said.Incarnation != j.View.Agents[other].Incarnation
}

// deaf tells whether no two of three or more nodes that are up hear each other.
func (j *judge) deaf() bool {
	var up []topology.NodeName
	for _, s := range j.subjects {
		if s.state == state.NodeUp {
			up = append(up, s.name)
		}
	}
	return len(up) > enoughReporters && !j.hearEachOther(up)
}

// switchSilent tells whether what is not heard of a node may be for its switch,
// which is not connected, or was not a moment ago.
func (j *judge) switchSilent(s *subject) bool {
	return j.Away[s.at] || !j.passed(j.Back[s.at].Add(heardAfter*j.silence()))
}

// budget tells how many nodes failed by silence and are not back, and how many
// may at most. A failure whose record is gone is taken for one of these.
func (j *judge) budget() (spent, most int) {
	for _, s := range j.subjects {
		if s.state == state.NodeFailed && s.reason != state.FailureLinkDown && s.reason != state.FailureReboot {
			spent++
		}
	}
	if most = (len(j.subjects) - 1) / 2; len(j.subjects) == 2 {
		most = 1
	}
	return spent, most
}

// suspected are those whom somebody hears nothing of, not yet failed, and by whom.
func (j *judge) suspected() map[topology.NodeName][]topology.NodeName {
	suspects := map[topology.NodeName][]topology.NodeName{}
	for _, s := range j.subjects {
		for _, other := range j.others(s) {
			if said, is := j.View.Agents[other.name].Suspects[s.name]; is && s.state != state.NodeFailed && said.Incarnation == s.incarnation {
				suspects[s.name] = append(suspects[s.name], other.name)
			}
		}
		slices.Sort(suspects[s.name])
	}
	return suspects
}

// names lists nodes in words.
func names(list []topology.NodeName) string {
	var words []string
	for _, name := range list {
		words = append(words, string(name))
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

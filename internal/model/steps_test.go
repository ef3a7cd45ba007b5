// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"

	"pgregory.net/rapid"
)

// step is one thing that may happen, and how often it does beside the others.
type step struct {
	name   string
	weight int
	do     func(*rapid.T)
}

// all are the steps of a story. Those that are nothing at the moment are skipped.
func (w *world) all() []step {
	return []step{
		{"dial", 1, w.dial}, {"greet", 2, w.greet}, {"ask", 3, w.ask}, {"say again", 4, w.sayAgain}, {"hang up", 3, w.hangUp},
		{"hear", 3, w.hear}, {"answer lost", 1, w.loseAnswer},
		{"copy", 6, w.copyArrives}, {"copy lost", 1, w.copyLost}, {"queue", 2, w.queueArrives}, {"traffic", 2, w.trafficFlows},
		{"timer", 2, w.timerEnds}, {"inquiry", 3, w.inquiryEnds},
		{"crash", 1, w.crash}, {"boot", 1, w.boot}, {"hang", 1, w.hang}, {"agent", 1, w.toggleAgent},
		{"link", 1, w.toggleLink}, {"heal", 2, w.heal},
		{"suspicion", 1, w.suspicion}, {"storm", 1, w.storm}, {"owner silent", 3, w.ownerSilent},
		{"see", 3, w.agentSees}, {"all see", 1, w.allSee}, {"clear", 1, w.agentClears},
		{"publish", 1, w.agentPublishes}, {"lease", 1, w.leaseEnds},
		{"decide", 2, w.leaderDecides}, {"tables", 1, w.tablesChange}, {"settle", 1, w.settles}, {"port", 1, w.portSettles},
		{"round", 1, w.roundPasses}, {"stages", 5, w.stagesPass}, {"leader", 1, w.leaderChanges}, {"switch", 1, w.toggleSwitch},
		{"time", 1, w.timePasses}, {"rest", 1, w.idsRest},
	}
}

// steps gives them to rapid, which knows no weights. After a violation nothing
// happens any more.
func (w *world) steps() map[string]func(*rapid.T) {
	steps := map[string]func(*rapid.T){}
	for _, s := range w.all() {
		for i := range s.weight {
			steps[fmt.Sprintf("%s %d", s.name, i+1)] = func(t *rapid.T) {
				if w.broken == "" {
					s.do(t)
					w.check()
				}
			}
		}
	}
	return steps
}

// one draws an element; there must be one, or the step is skipped.
func one[T any](t *rapid.T, list []T, label string) T {
	if len(list) == 0 {
		t.SkipNow()
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(t, label)]
}

// oneNode draws a node of which something holds.
func (w *world) oneNode(t *rapid.T, holds func(*node) bool) *node {
	var list []*node
	for _, n := range w.nodes {
		if holds(n) {
			list = append(list, n)
		}
	}
	return one(t, list, "node")
}

func (w *world) oneConn(t *rapid.T, phases ...phase) *conn {
	var list []*conn
	for _, c := range w.conns {
		for _, p := range phases {
			if c.phase == p {
				list = append(list, c)
			}
		}
	}
	return one(t, list, "conn")
}

// SPDX-License-Identifier: Apache-2.0

package model

import (
	"time"

	"pgregory.net/rapid"
)

func (w *world) leaderDecides(t *rapid.T) {
	if rapid.Bool().Draw(t, "look") {
		w.control.look()
	}
	w.decide()
}

func (w *world) tablesChange(*rapid.T) {
	w.applyTables()
	w.say("the tables follow; fences to come: %v", w.control.orders)
}

func (w *world) settles(t *rapid.T) {
	w.settle(t)
	w.say("the tables are in force")
}

func (w *world) portSettles(t *rapid.T) {
	n := w.oneNode(t, func(n *node) bool { return n.port.tabled != n.port.fenced })
	n.port.fenced = n.port.tabled
	w.say("%s is fenced: %t", n.name, n.port.fenced)
}

func (w *world) roundPasses(t *rapid.T) {
	w.say("a round passes")
	w.round(t)
	w.tick(time.Second)
}

// stagesPass takes what is under way some stages further; one or the other is late.
func (w *world) stagesPass(t *rapid.T) {
	stages := []func(){
		func() { w.control.look(); w.decide() },
		w.applyTables,
		func() { w.settle(t) },
		w.decide,
		func() { w.everybody(w.see) },
		func() { w.everybody(w.clear); w.everybody(w.publish) },
	}
	from := rapid.IntRange(0, len(stages)-1).Draw(t, "from")
	to := rapid.IntRange(from, len(stages)-1).Draw(t, "to")
	w.say("stages %d to %d of a fail-over pass", from, to)
	for _, stage := range stages[from : to+1] {
		if rapid.IntRange(0, 7).Draw(t, "late") == 7 {
			continue
		}
		stage()
		w.check()
	}
}

func (w *world) leaderChanges(*rapid.T) {
	w.control.depose()
	w.say("%s leads", w.control.view.Leader)
}

func (w *world) toggleSwitch(*rapid.T) {
	w.control.away = !w.control.away
	if w.control.away {
		w.control.orders = nil
	}
	w.say("the switch is away: %t", w.control.away)
}

func (w *world) timePasses(t *rapid.T) {
	w.tick(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
}

// idsRest lets more time pass than any packet lives, if all know all there is to
// know: a node that learns of nothing for so long is none that this is about.
func (w *world) idsRest(t *rapid.T) {
	for _, n := range w.nodes {
		if n.runs && !n.acts() {
			t.SkipNow()
		}
	}
	w.catchUp(t)
	w.answers = nil
	w.tick(w.control.config.Cookie.Rotate)
	w.catchUp(t)
	w.say("time passes, until %s", w.now.Format(time.TimeOnly))
}

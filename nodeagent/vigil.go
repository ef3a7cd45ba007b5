// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/topology"
)

const (
	// questions are asked of a silent node before it is suspected.
	questions = 8
	// looksPerInterval is how often, in a heartbeat interval, silence is looked
	// for; at each look a silent node is asked once.
	looksPerInterval = 4
	// askAgain spaces the rounds of questions to a node that stays silent.
	askAgain = time.Second
	// suspectAfter is how many SYNs in a row a primary leaves unanswered, without
	// a sign of it in between, until its secondary waits no more.
	suspectAfter = 3
)

// presence is what this node holds of another.
type presence string

const (
	present   presence = "present"   // heard, or not silent for long
	agentless presence = "agentless" // silent, but its programs answer
	suspected presence = "suspected" // silent, and nothing answers
)

// vigil watches for the silence of other nodes, and asks those that are silent
// whether they live.
type vigil struct {
	patience time.Duration // the silence after which a node is asked
	interval time.Duration // of heartbeats
	looked   time.Time     // the last time; zero: not yet
	// since is when this node began to listen: no silence is older. It begins
	// anew when it was late itself, and can not tell who is silent.
	since      time.Time
	nonce      uint64 // of the next question
	watched    map[topology.NodeID]*watch
	unanswered map[topology.NodeID]int // SYNs in a row, by primary
}

// watch is what a vigil keeps of one node.
type watch struct {
	incarnation uint64
	presence    presence
	pending     []uint64  // nonces of the round of questions under way
	asked       time.Time // the last question
	rest        time.Time // no round before that
}

func newVigil(nonce uint64) *vigil {
	return &vigil{nonce: nonce, watched: map[topology.NodeID]*watch{}, unanswered: map[topology.NodeID]int{}}
}

// silence is how long a node that was heard at that time has been silent to a
// listener.
func (v *vigil) silence(now, heard time.Time) time.Duration {
	if heard.Before(v.since) {
		heard = v.since
	}
	return now.Sub(heard)
}

// asking is a question to be asked.
type asking struct {
	node  topology.NodeID
	nonce uint64
}

// look is to be called looksPerInterval times an interval. It gives what to ask,
// and the nodes whose presence is judged otherwise now.
func (v *vigil) look(now time.Time, known map[topology.NodeID]*peer) (ask []asking, changed []topology.NodeID) {
	if v.looked.IsZero() {
		v.since = now
	}
	v.wake(now)
	v.looked = now
	maps.DeleteFunc(v.watched, func(id topology.NodeID, _ *watch) bool { return known[id] == nil })
	for _, id := range slices.Sorted(maps.Keys(known)) {
		w, p := v.watchOf(id, known[id].incarnation), known[id]
		if v.silence(now, p.heard) <= v.patience {
			w.pending = nil
			continue
		}
		inquire, given := w.pursue(now, v.interval)
		if given {
			changed = append(changed, id)
		}
		if inquire {
			w.pending, w.asked = append(w.pending, v.nonce), now
			ask = append(ask, asking{id, v.nonce})
			v.nonce++
		}
	}
	return ask, changed
}

// wake is to be called before anybody's silence is judged. A node that itself was
// kept from looking listens anew: others only seem silent.
func (v *vigil) wake(now time.Time) {
	if !v.looked.IsZero() && now.Sub(v.looked) > v.interval/looksPerInterval+v.patience/2 {
		v.since = now
	}
}

// keep forgets nodes that are not in the cluster any more.
func (v *vigil) keep(r roster) {
	maps.DeleteFunc(v.unanswered, func(id topology.NodeID, _ int) bool { _, member := r.members[id]; return !member })
}

func (v *vigil) watchOf(id topology.NodeID, incarnation uint64) *watch {
	w := v.watched[id]
	if w == nil || w.incarnation != incarnation {
		w = &watch{incarnation: incarnation, presence: present}
		v.watched[id] = w
	}
	return w
}

// pursue goes on with a silent node: another question, or suspicion when as
// many as there are stay unanswered.
func (w *watch) pursue(now time.Time, interval time.Duration) (inquire, changed bool) {
	switch {
	case now.Before(w.rest):
		return false, false
	case len(w.pending) > 0 && now.Sub(w.asked) < interval/looksPerInterval/2:
		return false, false // looks that were late come close together
	case len(w.pending) < questions:
		return true, false
	}
	changed = w.presence != suspected
	w.presence, w.pending, w.rest = suspected, nil, now.Add(askAgain)
	return false, changed
}

// answered takes an answer to one of the questions; it tells whether the node is
// judged otherwise now.
func (v *vigil) answered(now time.Time, node topology.NodeID, nonce uint64) (changed bool) {
	w := v.watched[node]
	if w == nil || !slices.Contains(w.pending, nonce) {
		return false
	}
	delete(v.unanswered, node)
	changed = w.presence != agentless
	w.presence, w.pending, w.rest = agentless, nil, now.Add(askAgain)
	return changed
}

// heard clears a node; it tells whether there was anything to clear.
func (v *vigil) heard(node topology.NodeID) (changed bool) {
	changed = v.unanswered[node] >= suspectAfter
	delete(v.unanswered, node)
	w := v.watched[node]
	if w == nil {
		return changed
	}
	changed = changed || w.presence != present
	w.presence, w.pending, w.rest = present, nil, time.Time{}
	return changed
}

// speculated counts a SYN that the primary left unanswered; it tells whether the
// primary is suspected by that.
func (v *vigil) speculated(primary topology.NodeID) (changed bool) {
	v.unanswered[primary]++
	return v.unanswered[primary] == suspectAfter
}

// of gives what is held of a node.
func (v *vigil) of(node topology.NodeID) presence {
	if w := v.watched[node]; w != nil {
		return w.presence
	}
	return present
}

// suspects are the nodes that are not to be waited for, in order.
func (v *vigil) suspects() []topology.NodeID {
	var out []topology.NodeID
	for id, w := range v.watched {
		if w.presence == suspected {
			out = append(out, id)
		}
	}
	for id, n := range v.unanswered {
		if n >= suspectAfter {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

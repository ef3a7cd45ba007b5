// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/state"
)

// elected tells of a change of the leader, once for each term.
func (d *decider) elected() {
	if !d.Elected {
		return
	}
	e := Event{Kind: LeaderChanged, Text: fmt.Sprintf("controller %s leads, term %d", d.View.Leader, d.View.Term)}
	told := slices.ContainsFunc(d.View.Events, func(have state.Event) bool { return have.Kind == e.kind() && have.Text == e.text() })
	if !told {
		d.out.Events = append(d.out.Events, e)
	}
}

// events keeps what happened in the ring: of more than fits beside the changes in
// their transaction, the newest.
func (d *decider) events() {
	var seq uint64
	if n := len(d.View.Events); n > 0 {
		seq = d.View.Events[n-1].Seq
	}
	var kept []state.Event
	for _, e := range d.out.Events {
		if e.routine() {
			continue
		}
		seq = d.nextPlace(seq)
		kept = append(kept, state.Event{Schema: state.Schema, Seq: seq, Time: d.Now, Kind: e.kind(), Node: e.Node, Text: e.text()})
	}
	for _, e := range kept[max(0, len(kept)-d.room()):] {
		d.put(e)
	}
}

// nextPlace is the next number of an event whose place in the ring can be written:
// what can not be read is left alone.
func (d *decider) nextPlace(seq uint64) uint64 {
	for range state.EventRing {
		if seq++; !d.View.IsBroken(state.Event{Seq: seq}) {
			break
		}
	}
	return seq
}

// room is how many events fit into the last transaction of the changes.
func (d *decider) room() int {
	changes := len(d.out.Changes)
	transactions := max(1, (changes+state.MaxChanges-1)/state.MaxChanges)
	return transactions*state.MaxChanges - changes
}

// routine events are for the log only.
func (e Event) routine() bool {
	return e.Kind == HeartbeatKeyMade || e.Kind == CookieKeysMade || e.Kind == CookieKeysRotated
}

// kind is Kind as it is stored.
func (e Event) kind() string { return strings.ReplaceAll(string(e.Kind), " ", "_") }

// text is the event in words.
func (e Event) text() string {
	switch {
	case e.Text != "":
		return e.Text
	case e.Kind == NodeFailed:
		return e.failedText()
	case e.Kind == NodeFenced:
		return fmt.Sprintf("node %s (id %d) fenced: the guards act in its place (failure %d)", e.Node, e.ID, e.Epoch)
	case e.Kind == NodeBack:
		return fmt.Sprintf("node %s is back with id %d (failure %d is over)", e.Node, e.ID, e.Epoch)
	case e.Kind == SlotsMoved:
		return fmt.Sprintf("slots moved: epoch %d", e.Epoch)
	case e.Node != "":
		return fmt.Sprintf("%s: %s, id %d", e.Kind, e.Node, e.ID)
	case e.Service != "":
		return fmt.Sprintf("%s: %s, id %d", e.Kind, e.Service, e.ID)
	}
	return string(e.Kind)
}

func (e Event) failedText() string {
	text := fmt.Sprintf("node %s (id %d) failed: %s", e.Node, e.ID, e.Reason)
	if e.Reporters != "" {
		text += ", suspected by " + e.Reporters
	}
	return text + fmt.Sprintf(" (failure %d)", e.Epoch)
}

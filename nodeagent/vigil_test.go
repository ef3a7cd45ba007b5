// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

// watchStory drives a vigil over node 2, with intervals of 100 ms and a patience
// of 300 ms, and writes down what it does.
type watchStory struct {
	vigil *vigil
	known map[topology.NodeID]*peer
	now   time.Time
	said  strings.Builder
	last  asking
}

func newWatchStory() *watchStory {
	s := &watchStory{vigil: newVigil(7), now: start, known: map[topology.NodeID]*peer{2: {incarnation: 200, heard: start}}}
	s.vigil.interval, s.vigil.patience = 100*time.Millisecond, 300*time.Millisecond
	s.look()
	return s
}

func (s *watchStory) look() {
	ask, changed := s.vigil.look(s.now, s.known)
	for _, q := range ask {
		s.last = q
		s.note("asks %d", q.node)
	}
	for _, id := range changed {
		s.note("%d is %s", id, s.vigil.of(id))
	}
}

func (s *watchStory) note(format string, args ...any) {
	fmt.Fprintf(&s.said, "%5d ms: ", s.now.Sub(start).Milliseconds())
	fmt.Fprintf(&s.said, format+"\n", args...)
}

// pass lets time go by with a look each 25 ms.
func (s *watchStory) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(25 * time.Millisecond)
		s.look()
	}
}

func (s *watchStory) hear() {
	s.known[2].heard = s.now
	if s.vigil.heard(2) {
		s.note("2 is %s", s.vigil.of(2))
	}
}

func (s *watchStory) answer(nonce uint64) {
	if s.vigil.answered(s.now, 2, nonce) {
		s.note("2 is %s", s.vigil.of(2))
	}
}

func (s *watchStory) want(t *testing.T, lines ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSpace(s.said.String()), "\n")
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASilentNodeIsAskedAndThenSuspected(t *testing.T) {
	s := newWatchStory()
	s.pass(time.Second)
	s.hear()
	s.want(t, "325 ms: asks 2", "350 ms: asks 2", "375 ms: asks 2", "400 ms: asks 2",
		"425 ms: asks 2", "450 ms: asks 2", "475 ms: asks 2", "500 ms: asks 2",
		"525 ms: 2 is suspected", "1000 ms: 2 is present")
}

func TestANodeThatAnswersIsAgentlessAndAskedOnceASecond(t *testing.T) {
	s := newWatchStory()
	s.pass(350 * time.Millisecond)
	s.answer(s.last.nonce - 1) // to the first question: answers may cross the next one
	for range 2 {
		s.pass(time.Second)
		s.answer(s.last.nonce)
	}
	s.pass(1200 * time.Millisecond)
	s.answer(s.last.nonce)
	s.want(t, "325 ms: asks 2", "350 ms: asks 2", "350 ms: 2 is agentless", "1350 ms: asks 2", "2350 ms: asks 2",
		"3350 ms: asks 2", "3375 ms: asks 2", "3400 ms: asks 2", "3425 ms: asks 2",
		"3450 ms: asks 2", "3475 ms: asks 2", "3500 ms: asks 2", "3525 ms: asks 2",
		"3550 ms: 2 is suspected")
}

func TestASuspectedNodeThatAnswersIsAgentless(t *testing.T) {
	s := newWatchStory()
	s.pass(525 * time.Millisecond)
	s.said.Reset()
	s.pass(time.Second)
	s.answer(s.last.nonce)
	s.want(t, "1525 ms: asks 2", "1525 ms: 2 is agentless")
}

func TestOldAnswersAreNone(t *testing.T) {
	s := newWatchStory()
	s.pass(400 * time.Millisecond)
	s.hear()
	s.answer(s.last.nonce) // to a question of before
	s.answer(99)           // to nobody's
	if got := s.vigil.of(2); got != present {
		t.Errorf("the node is %s", got)
	}
}

// Who was not there to hear the others can not tell that they were silent.
func TestOneThatWasLateListensAnew(t *testing.T) {
	s := newWatchStory()
	s.pass(100 * time.Millisecond)
	s.now = s.now.Add(5 * time.Second)
	s.pass(350 * time.Millisecond)
	s.want(t, "5450 ms: asks 2")
}

func TestBeingLateDoesNotClear(t *testing.T) {
	s := newWatchStory()
	s.pass(525 * time.Millisecond)
	s.now = s.now.Add(5 * time.Second)
	s.pass(100 * time.Millisecond)
	if got := s.vigil.of(2); got != suspected {
		t.Errorf("the node is %s, though nobody heard it", got)
	}
}

func TestLooksThatCameLateAskOneByOne(t *testing.T) {
	s := newWatchStory()
	s.pass(325 * time.Millisecond)
	for range 20 { // as a ticker does that catches up
		s.look()
	}
	s.want(t, "325 ms: asks 2")
}

func TestAnotherBootIsAnotherNode(t *testing.T) {
	s := newWatchStory()
	s.pass(525 * time.Millisecond)
	s.known[2] = &peer{incarnation: 201, heard: s.now}
	s.pass(25 * time.Millisecond)
	if got := s.vigil.suspects(); len(got) > 0 {
		t.Errorf("suspects are %v", got)
	}
	delete(s.known, 2)
	s.pass(25 * time.Millisecond)
	if len(s.vigil.watched) > 0 {
		t.Error("a node that left is still watched")
	}
}

func TestSYNsLeftUnansweredMakeSuspicion(t *testing.T) {
	v := newVigil(1)
	r := roster{members: map[topology.NodeID]uint64{2: 200}}
	for i, want := range []bool{false, false, true, false} {
		if got := v.speculated(2); got != want {
			t.Errorf("SYN %d: changed is %t, want %t", i, got, want)
		}
	}
	v.keep(r)
	if diff := cmp.Diff([]topology.NodeID{2}, v.suspects()); diff != "" {
		t.Errorf("suspects (-want +got):\n%s", diff)
	}
	if !v.heard(2) || v.heard(2) || len(v.suspects()) > 0 {
		t.Error("a heartbeat does not clear it, once")
	}
	v.speculated(2)
	v.speculated(2)
	v.heard(2)
	if v.speculated(2) {
		t.Error("SYNs from before a heartbeat count")
	}
	v.keep(roster{})
	if len(v.unanswered) > 0 {
		t.Error("a node that left is still counted")
	}
}

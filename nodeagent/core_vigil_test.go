// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// watch lets time go by with a look each 25 ms, and gives all that was done.
func (s *story) watch(d time.Duration) (out []action) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(25 * time.Millisecond)
		out = append(out, s.step(watchDue{})...)
	}
	return out
}

// silentStory has node 2 suspected; it gives what led to it.
func silentStory(t *testing.T) (*story, []action) {
	s := runningStory(t)
	s.hear()
	s.watch(25 * time.Millisecond)
	return s, s.watch(600 * time.Millisecond)
}

func TestASuspicionIsToldToAllAtOnce(t *testing.T) {
	s, out := silentStory(t)
	asked := only[ask](out)
	if len(asked) != questions {
		t.Fatalf("asked %d times, want %d", len(asked), questions)
	}
	want := bpf.Question{Kind: bpf.AskAlive, Asked: 2, Nonce: 100 + 1000, To: mac2}
	if got := asked[0].questions[0]; got != want {
		t.Errorf("question is %+v, want %+v", got, want)
	}
	if got := one[setSuspected](t, out).nodes; !slices.Equal(got, []topology.NodeID{2}) {
		t.Errorf("the programs are told of %v", got)
	}
	if !saysOf(out, "node is suspected") {
		t.Error("it is not said")
	}
	one[scheduleLoads](t, out)
	heard := s.core.peers.known[2].heard
	suspects := map[topology.NodeName]state.Suspicion{"n2": {Since: heard.UTC(), Incarnation: "00000000000000c8"}}
	if diff := cmp.Diff(suspects, one[publish](t, out).record.Suspects); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestAHeartbeatClearsTheSuspicionAtOnce(t *testing.T) {
	s, _ := silentStory(t)
	out := s.hear()
	if got := one[setSuspected](t, out).nodes; len(got) > 0 || !saysOf(out, "node is heard again") {
		t.Errorf("the programs are told of %v, actions %+v", got, out)
	}
	if got := one[publish](t, out).record.Suspects; got != nil {
		t.Errorf("record says %v", got)
	}
}

func TestAnAgentlessNodeIsNeitherPickedNorReplaced(t *testing.T) {
	s := runningStory(t)
	s.hear()
	s.beat()
	s.watch(25 * time.Millisecond)
	out := s.watch(325 * time.Millisecond)
	q := only[ask](out)[0].questions[0]
	out = s.step(answered{bpf.Answer{Kind: q.Kind, Asked: q.Asked, Nonce: q.Nonce, Yes: true}})
	none[setSuspected](t, out)
	if got := one[publish](t, out).record.Suspects["n2"]; !got.Agentless || !saysOf(out, "node is agentless") {
		t.Errorf("suspicion is %+v", got)
	}
	if got := listed(one[setLoads](t, s.beat()).table); !slices.Equal(got, []topology.NodeID{1}) {
		t.Errorf("lists %v, want 1 alone", got)
	}
	s.now = s.now.Add(time.Minute) // this node was stopped, and listens anew
	none[setLoads](t, s.beat())
	if !saysNothing(s.watch(100 * time.Millisecond)) {
		t.Error("being late clears others")
	}
}

func saysNothing(actions []action) bool { return len(only[say](actions)) == 0 }

// Nobody is left out of the loads because this node was stopped.
func TestAStoppedAgentPicksAsBefore(t *testing.T) {
	s := runningStory(t)
	s.hear()
	s.beat()
	s.watch(25 * time.Millisecond)
	s.now = s.now.Add(time.Minute)
	if out := s.beat(); len(only[setLoads](out)) > 0 || !saysNothing(out) {
		t.Errorf("does %+v", out)
	}
}

// Whoever takes leave is asked as all who are silent: its programs work on.
func TestANodeThatTookLeaveIsAsked(t *testing.T) {
	s := runningStory(t)
	s.hear()
	s.watch(25 * time.Millisecond)
	s.hear(func(h *heartbeat) { h.Leaving, h.Services = true, nil })
	none[ask](t, s.watch(300*time.Millisecond))
	one[ask](t, s.watch(25*time.Millisecond))
}

// A node that never was heard may not be up yet, one with tables must be.
func TestOnlyWhoMustBeHeardIsMissed(t *testing.T) {
	s := runningStory(t)
	none[ask](t, s.watch(time.Second))
	s = runningStory(t, func(v *state.View) {
		n2 := v.Agents["n2"]
		n2.SlotEpoch = 4
		v.Agents["n2"] = n2
	})
	if out := s.watch(time.Second); len(only[ask](out)) == 0 || !saysOf(out, "node is suspected") {
		t.Error("a node that is up in the store and silent is not missed")
	}
	back := testView()
	n2 := back.Nodes["n2"]
	n2.ID = 5
	back.Nodes["n2"] = n2
	back.Agents["n2"] = state.Agent{Name: "n2", MAC: mac2, Incarnation: formatIncarnation(200), SlotEpoch: 4}
	s.step(viewChanged{state.Update{View: back}})
	none[ask](t, s.watch(time.Second))
}

func TestAFailedNodeIsNoPeer(t *testing.T) {
	s, _ := silentStory(t)
	v := testView()
	n2 := v.Nodes["n2"]
	n2.State, n2.Failure = state.NodeFailed, 1
	v.Nodes["n2"] = n2
	s.step(viewChanged{state.Update{View: v}})
	if got := one[countFrame](t, s.hear()); got.as != refusedUnknown {
		t.Errorf("its heartbeat is counted as %q, want %q", got.as, refusedUnknown)
	}
	if got := one[setSuspected](t, s.watch(25*time.Millisecond)).nodes; len(got) > 0 {
		t.Errorf("suspected is still %v", got)
	}
	s.beat()
	if got := s.core.loads[0].exclusions[2]; got != failed {
		t.Errorf("it is not picked because it is %q, want %q", got, failed)
	}
}

func TestAPrimaryThatLeavesSYNsUnansweredIsNotWaitedFor(t *testing.T) {
	s := runningStory(t)
	s.hear()
	s.beat()
	for range suspectAfter - 1 {
		none[setSuspected](t, s.step(speculated{2}))
	}
	out := s.step(speculated{2})
	if got := one[setSuspected](t, out).nodes; !slices.Equal(got, []topology.NodeID{2}) {
		t.Errorf("the programs are told of %v", got)
	}
	none[publish](t, out)                               // others have to find out for themselves
	none[setLoads](t, s.step(loadsDue{counts{0: s.n}})) // no heartbeat is missing yet
	s.now = s.now.Add(151 * time.Millisecond)
	if got := listed(one[setLoads](t, s.step(loadsDue{counts{0: s.n}})).table); !slices.Equal(got, []topology.NodeID{1}) {
		t.Errorf("lists %v, want 1 alone", got)
	}
	s.now = s.now.Add(time.Millisecond)
	if got := one[setSuspected](t, s.hear()).nodes; len(got) > 0 {
		t.Errorf("suspected is still %v", got)
	}
}

func TestOnlyAnotherIsSuspectedOfLeavingSYNsUnanswered(t *testing.T) {
	for _, primary := range []topology.NodeID{topology.Undecided, 1} {
		s := runningStory(t)
		s.hear()
		s.beat()
		for range suspectAfter {
			if out := s.step(speculated{primary}); len(out) > 0 {
				t.Errorf("primary %d led to %+v", primary, out)
			}
		}
	}
}

func TestFormerPrimariesAnswerUntilAllHaveTheTable(t *testing.T) {
	s := runningStory(t, func(v *state.View) { *v = withAgents(*v, 4, 4) })
	v := withAgents(testView(), 5, 4)
	v.Slots = &state.Slots{Epoch: 5, Primary: slices.Repeat([]topology.NodeID{2}, topology.SlotCount),
		Secondary: slices.Repeat([]topology.NodeID{1}, topology.SlotCount)}
	want := bpf.Slot{Primary: 2, Secondary: 1, Former: 1}
	if got := one[install](t, s.step(viewChanged{state.Update{View: v}})).want.slots[0]; got != want {
		t.Errorf("slot is %+v, want %+v", got, want)
	}
	v.Agents = withAgents(v, 5, 5).Agents
	want.Former = topology.Undecided
	if got := one[install](t, s.step(viewChanged{state.Update{View: v}})).want.slots[0]; got != want {
		t.Errorf("slot is %+v, want %+v", got, want)
	}
}

// withAgents is v with slot epochs that the agents of n1 and n2 confirm.
func withAgents(v state.View, n1, n2 uint64) state.View {
	v.Agents = map[topology.NodeName]state.Agent{
		"n1": {Name: "n1", MAC: mac1, Incarnation: formatIncarnation(100), SlotEpoch: n1},
		"n2": {Name: "n2", MAC: mac2, Incarnation: formatIncarnation(200), SlotEpoch: n2},
	}
	return v
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// The rig is that of guard_core_test.go: n1 acts for n3, which has failed.

// sayNo lets all who were asked say that they have nothing.
func (r *guardRig) sayNo(questions []bpf.Question) (out []guardAction) {
	for _, q := range questions {
		out = append(out, r.step(nodeAnswered{bpf.Answer{Asked: q.Asked, Nonce: q.Nonce, Flow: q.Flow}})...)
	}
	return out
}

func TestOrphansThatWereInspected(t *testing.T) {
	const alive, failed = 2, 3
	for _, tt := range []struct {
		name             string
		owner, inspector topology.NodeID
		data             bool
		seen             time.Duration
		asked            int // how often both nodes are
		probed           bool
	}{
		{"nothing was asked for yet, its inspector is alive", 0, alive, false, 0, 0, false},
		{"nothing was asked for yet, its inspector has failed", 0, failed, false, 0, 0, false},
		{"the failed node was to decide", 0, failed, true, 0, 2, true},
		{"a live one decided, and nobody here was told", 0, alive, true, 0, 3, true},
		{"likewise, and its client is silent", 0, alive, true, heldFor, 2 + heldMost, true},
		{"the failed node owned it, as was told", 3, alive, true, 0, 0, true},
		{"a live node owns it, as was told", 4, failed, true, 0, 0, false},
		{"it was never inspected", 0, 0, true, 0, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newGuardRig(t)
			r.step(guardView{fourNodes(r.now)})
			g := r.mine(1, true)[0]
			g.Owner, g.Inspector, g.Data, g.Seen = tt.owner, tt.inspector, tt.data, tt.seen
			r.records[g.Flow] = g
			rounds, out := r.rounds(r.step(recordsRead{7, []bpf.Guarded{g}, nil}), time.Minute)
			if rounds != tt.asked || len(probedIn(out)) > 0 != tt.probed || len(of[attribute](out)) > 0 != (tt.asked > 0) {
				t.Errorf("asked %d times, probed %v, and did %v; want %d, %t", rounds, probedIn(out), of[attribute](out), tt.asked, tt.probed)
			}
		})
	}
}

// A connection may be on its way when it is asked about: nobody has it, and in a moment
// its owner does. At layer 4 what follows the first segment may be here before that one is
// sent again.
func TestAStrayThatIsOnItsWay(t *testing.T) {
	for policy, within := range map[topology.Policy]time.Duration{
		topology.Locality: handedWithin, topology.LeastConnection: adoptedWithin,
	} {
		t.Run(string(policy), func(t *testing.T) { testOnItsWay(t, policy, within) })
	}
}

func testOnItsWay(t *testing.T, policy topology.Policy, within time.Duration) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	withPolicy(policy)(&v)
	r.step(guardView{v})
	r.step(recordsRead{7, nil, nil})
	flow := r.mine(1, true)[0].Flow
	out := r.sayNo(asked(r.step(strayNoticed{flow})))
	r.want("condemned at once", []attribute{}, of[attribute](out))
	r.want("counted", []countStray{}, of[countStray](out))
	if again := asked(r.step(strayNoticed{flow})); len(again) > 0 {
		t.Errorf("asked about it twice at a time: %v", again)
	}
	if early := asked(r.pass(within - time.Millisecond)); len(early) > 0 {
		t.Errorf("asked too early: %v", early)
	}
	questions := asked(r.pass(2 * pace))
	if len(questions) != 2 || slices.ContainsFunc(questions, func(q bpf.Question) bool { return q.Flow != flow }) {
		t.Fatalf("asked %v, want both nodes once more", questions)
	}
	out = r.step(nodeAnswered{bpf.Answer{Asked: 4, Nonce: questions[0].Nonce, Flow: flow, Yes: true}})
	r.want("its owner", []attribute{{[]bpf.Flow{flow}, 4}}, of[attribute](out))
	r.want("counted", []countStray{{outcomeOwned}}, of[countStray](out))
}

// strayRig is a rig whose service looks at requests, and a stray in a slot that n1 acts in.
func strayRig(t *testing.T) (*guardRig, bpf.Guarded) {
	t.Helper()
	r := newGuardRig(t)
	v := fourNodes(r.now)
	withPolicy(topology.Locality)(&v)
	r.step(guardView{v})
	r.step(recordsRead{7, nil, nil})
	g := r.mine(1, true)[0]
	g.Owner, g.Inspector, g.Data = topology.Undecided, 2, true
	r.records[g.Flow] = g
	return r, g
}

// rounds has all say no as often as they are asked in a time, and gives how often that
// was, and what was done.
func (r *guardRig) rounds(out []guardAction, within time.Duration) (rounds int, done []guardAction) {
	r.t.Helper()
	for end := r.now.Add(within); ; {
		for ; len(asked(out)) > 0; rounds++ {
			done = append(done, out...)
			out = r.sayNo(asked(out))
		}
		done = append(done, out...)
		at := r.next(r.now)
		if at.IsZero() || at.After(end) {
			r.now = end
			return rounds, done
		}
		out = r.pass(at.Sub(r.now))
	}
}

// A node is down, no matter for whom. A client of the others sends its request in two
// segments, of which the first is lost: the second is a stray, and nobody has the connection.
// Its inspector is alive, and waits for the first one.
func TestAnInspectorWaitsForTheFirstSegment(t *testing.T) {
	r, g := strayRig(t)
	rounds, done := r.rounds(r.step(strayNoticed{g.Flow}), heldFor)
	r.want("condemned", []attribute{}, of[attribute](done))
	if rounds != 2 {
		t.Errorf("asked %d times, want twice before it is left to its inspector", rounds)
	}
	questions := asked(r.pass(handedWithin + pace))
	if len(questions) != 2 {
		t.Fatalf("asked %v, want both nodes once more", questions)
	}
	out := r.step(nodeAnswered{bpf.Answer{Asked: 4, Nonce: questions[0].Nonce, Flow: g.Flow, Yes: true}})
	r.want("its owner", []attribute{{[]bpf.Flow{g.Flow}, 4}}, of[attribute](out))
}

// Who was its owner is not known here: the word of a live inspector is lost.
func TestAnOrphanWhoseInspectorLives(t *testing.T) {
	for _, tt := range []struct {
		name      string
		inspector topology.NodeID
		seen      time.Duration
		rounds    int
		after     time.Duration
	}{
		{"it talks", 2, time.Second, 3, heldFor + handedWithin},
		{"it fell silent", 2, heldFor, 2 + heldMost, heldMost*heldFor + handedWithin},
		{"its handshake was not seen", 0, time.Minute, 3, heldFor + handedWithin},
		{"its inspector has failed", 3, 0, 2, handedWithin},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, g := strayRig(t)
			g.Inspector, g.Seen = tt.inspector, tt.seen
			r.records[g.Flow] = g
			n, early := r.rounds(r.step(strayNoticed{g.Flow}), tt.after-pace)
			if n != tt.rounds-1 || len(of[attribute](early)) > 0 {
				t.Errorf("asked %d times, and did %v; want %d, and left alone", n, of[attribute](early), tt.rounds-1)
			}
			n, done := r.rounds(nil, 10*pace)
			r.want("condemned", []attribute{{[]bpf.Flow{g.Flow}, 3}}, of[attribute](done))
			if n != 1 {
				t.Errorf("asked %d times more, want once", n)
			}
		})
	}
}

// A client that has asked for nothing keeps its connection alive: that is nobody's, who
// ever was to decide.
func TestAKeptAliveOneIsLeftAlone(t *testing.T) {
	for _, inspector := range []topology.NodeID{2, 3} {
		r, g := strayRig(t)
		g.Inspector, g.Data = inspector, false
		r.records[g.Flow] = g
		_, out := r.rounds(r.step(strayNoticed{g.Flow}), time.Minute)
		r.want("counted", []countStray{{outcomeUndecided}}, of[countStray](out))
		r.want("condemned", []attribute{}, of[attribute](out))
	}
}

// What can not be looked at is not condemned.
func TestAStrayThatCanNotBeLookedAt(t *testing.T) {
	r, g := strayRig(t)
	v := finding{suspect{flow: g.Flow, epoch: 7}, outcomeCondemned, topology.Undecided}
	out := r.step(lookedAgain{[]finding{v}, nil, errors.New("no map")})
	if len(of[say](out)) != 1 || len(of[attribute](out)) > 0 {
		t.Errorf("did %v, want that it is said", out)
	}
}

func TestHeldOnesAreBounded(t *testing.T) {
	r := newInquiryRig(t, 2)
	for n := range maxSuspects {
		if !r.q.hold(r.now, suspect{flow: flowNumber(n)}) {
			t.Fatalf("no room for suspect %d", n)
		}
	}
	if r.q.hold(r.now, suspect{flow: flowNumber(maxSuspects)}) || !r.q.hold(r.now, suspect{flow: flowNumber(1)}) {
		t.Error("more than the bound says, or no word of one that waits")
	}
}

// Of two that have failed, one was the inspector or the owner. The filter knows which, or
// takes either.
func TestAStrayOfOneOfTwo(t *testing.T) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	fail(&v, "n4", 8, &r.now)
	fail(&v, "n3", 9, &r.now) // its sweep is the one that goes on with it
	delete(v.Failures, 7)
	r.step(guardView{v})
	for i := 0; ; i++ {
		flow := flowNumber(i)
		if len(r.duties.owners(bpf.SlotOf(flow.Client, flow.VIP))) < 2 {
			continue
		}
		_, out := r.rounds(r.step(strayNoticed{flow}), adoptedWithin+pace)
		flows := []bpf.Flow{flow}
		r.want("condemned", []attribute{{flows, 4}, {flows, 3}}, of[attribute](out))
		r.want("counted", []countStray{{outcomeCondemned}}, of[countStray](out))
		return
	}
}

func TestAHandedOneWithNobodyToAsk(t *testing.T) {
	r := newInquiryRig(t)
	r.q.add(r.now, suspect{flow: flowNumber(1), twice: handedWithin})
	r.step()
	r.wantEnded()
	r.now = r.now.Add(handedWithin)
	if at := r.q.next(r.now); at.After(r.now) {
		t.Errorf("next is %v after it is due", at.Sub(r.now))
	}
	r.step()
	r.wantEnded("condemned 0")
	if at := r.q.next(r.now); !at.IsZero() {
		t.Errorf("next is %v, want never", at)
	}
}

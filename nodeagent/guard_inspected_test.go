// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
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
		asked            int // how often both nodes are
		probed           bool
	}{
		{"nothing was asked for yet, its inspector is alive", 0, alive, false, 0, false},
		{"nothing was asked for yet, its inspector has failed", 0, failed, false, 0, false},
		{"the failed node was to decide", 0, failed, true, 2, true},
		{"a live one decided, and nobody here was told", 0, alive, true, 2, true},
		{"the failed node owned it, as was told", 3, alive, true, 0, true},
		{"a live node owns it, as was told", 4, failed, true, 0, false},
		{"it was never inspected", 0, 0, true, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newGuardRig(t)
			r.step(guardView{fourNodes(r.now)})
			g := r.mine(1, true)[0]
			g.Owner, g.Inspector, g.Data = tt.owner, tt.inspector, tt.data
			out := r.step(recordsRead{7, []bpf.Guarded{g}, nil})
			rounds := 0
			for ; len(asked(out)) > 0; rounds++ {
				no := r.sayNo(asked(out))
				if last := len(of[attribute](no)) > 0; last != (rounds+1 == tt.asked) {
					t.Errorf("condemned after %d rounds: %t", rounds+1, last)
				}
				out = append(no, r.pass(handedWithin)...)
			}
			out = append(out, r.pass(time.Minute)...)
			if rounds != tt.asked || len(probedIn(out)) > 0 != tt.probed {
				t.Errorf("asked %d times, probed %v; want %d, %t", rounds, probedIn(out), tt.asked, tt.probed)
			}
		})
	}
}

// A connection may be on its way when it is asked about: nobody has it, and in a moment
// its owner does.
func TestAStrayThatIsHandedOver(t *testing.T) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	withPolicy(topology.Locality)(&v)
	r.step(guardView{v})
	r.step(recordsRead{7, nil, nil})
	flow := r.mine(1, true)[0].Flow
	out := r.sayNo(asked(r.step(strayNoticed{flow})))
	r.want("condemned at once", []attribute{}, of[attribute](out))
	r.want("counted", []countStray{}, of[countStray](out))
	if again := asked(r.step(strayNoticed{flow})); len(again) > 0 {
		t.Errorf("asked about it twice at a time: %v", again)
	}
	if early := asked(r.pass(handedWithin - time.Millisecond)); len(early) > 0 {
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
		out := r.sayNo(asked(r.step(strayNoticed{flow})))
		flows := []bpf.Flow{flow}
		r.want("condemned", []attribute{{flows, 4}, {flows, 3}}, of[attribute](out))
		r.want("counted", []countStray{{outcomeCondemned}}, of[countStray](out))
		return
	}
}

func TestAHandedOneWithNobodyToAsk(t *testing.T) {
	r := newInquiryRig(t)
	r.q.add(r.now, suspect{flow: flowNumber(1), inspected: true})
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

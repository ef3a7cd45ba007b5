// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// guardRig steps the core of n1, of four nodes of which n3 has failed.
type guardRig struct {
	*guardCore
	t   *testing.T
	now time.Time
	// records are what the filter has when they are looked at again.
	records map[bpf.Flow]bpf.Guarded
}

func newGuardRig(t *testing.T) *guardRig {
	return &guardRig{newGuardCore("n1", mac1, 1000), t, time.Unix(5000, 0), map[bpf.Flow]bpf.Guarded{}}
}

// step looks at records again as the loop would.
func (r *guardRig) step(ev guardEvent) (out []guardAction) {
	for _, act := range r.Step(r.now, ev) {
		if look, is := act.(lookAgain); is {
			out = append(out, r.step(lookedAgain{look.findings, r.records, nil})...)
			continue
		}
		out = append(out, act)
	}
	return out
}

// pass steps through an amount of time as the loop would, and gives what was done.
func (r *guardRig) pass(d time.Duration) (out []guardAction) {
	r.t.Helper()
	for end := r.now.Add(d); ; {
		at := r.next(r.now)
		if at.IsZero() || at.After(end) {
			r.now = end
			return out
		}
		if !at.After(r.now) {
			r.t.Fatalf("next is %v ago: the loop would spin", r.now.Sub(at))
		}
		r.now = at
		out = append(out, r.step(paced{})...)
	}
}

// mine gives n connections whose slots n1 acts in for n3, or does not.
func (r *guardRig) mine(n int, yes bool) (out []bpf.Guarded) {
	acts := wantDuties(r.now, fourNodes(r.now), "n1", guardTables{}).duties[0].slots
	for i := 1; len(out) < n; i++ {
		g := guardedRecord("10.77.1.1:1", "10.77.0.1:80")
		g.Flow, g.Owner = flowNumber(i), 3
		if acts[bpf.SlotOf(g.Flow.Client, g.Flow.VIP)] == yes {
			out = append(out, g)
		}
	}
	return out
}

func of[T guardAction](actions []guardAction) (out []T) {
	for _, a := range actions {
		if a, ok := a.(T); ok {
			out = append(out, a)
		}
	}
	return out
}

// probedIn gives the flows that were probed.
func probedIn(actions []guardAction) (out []bpf.Flow) {
	for _, p := range of[probe](actions) {
		out = append(out, flowsOf(p.records)...)
	}
	return out
}

func flowsOf(records []bpf.Guarded) (out []bpf.Flow) {
	for _, g := range records {
		out = append(out, g.Flow)
	}
	return out
}

func asked(actions []guardAction) (out []bpf.Question) {
	for _, a := range of[ask](actions) {
		out = append(out, a.questions...)
	}
	return out
}

func (r *guardRig) want(what string, want, got any) {
	r.t.Helper()
	opts := cmp.Options{cmp.AllowUnexported(attribute{}, readRecords{}, readConns{}, deleteConns{}, countStray{}),
		cmpopts.EquateComparable(bpf.Flow{}, netip.AddrPort{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Who has closed may wait for an answer still; most do not, and so the others go first,
// round after round.
func TestClosedOrphansAreProbedLastAndOnce(t *testing.T) {
	r := newGuardRig(t)
	all := r.mine(probeBurst+2, true)
	closed := all[:2]
	for i := range closed {
		closed[i].Closing, closed[i].Seen = true, time.Duration(2-i)
	}
	r.step(guardView{fourNodes(r.now)})
	r.want("those that are open first", flowsOf(all[2:]), probedIn(r.step(recordsRead{7, all, nil})))
	r.step(connsRead{7, connsOf(closed), nil}) // the store may not know yet that they have closed
	r.want("then the others", []bpf.Flow{closed[1].Flow, closed[0].Flow}, probedIn(r.pass(2*pace)))
	r.pass(sweepEvery)
	r.step(recordsRead{7, all[:3], nil})
	if again := probedIn(r.pass(sweepEvery)); slices.Contains(again, closed[0].Flow) || slices.Contains(again, closed[1].Flow) {
		t.Errorf("probed again: %v", again)
	}
}

func TestNoRoundIsForClosedOrphansAlone(t *testing.T) {
	r := newGuardRig(t)
	all := r.mine(2, true)
	closed, unknown := all[0], all[1]
	closed.Closing, unknown.Closing, unknown.Owner = true, true, topology.Undecided
	r.step(guardView{fourNodes(r.now)})
	out := r.step(recordsRead{7, []bpf.Guarded{closed, unknown}, nil})
	out = append(out, r.pass(5*sweepEvery)...)
	r.want("probed", flowsOf(all[:1]), probedIn(out))
	if len(of[ask](out)) > 0 || len(of[readRecords](out)) > 0 { // if the unknown one talks, it is a stray
		t.Errorf("closed connections led to %v", out)
	}
}

func TestSilentOrphansAreProbed(t *testing.T) {
	r := newGuardRig(t)
	mine, others := r.mine(2, true), r.mine(2, false)
	out := r.step(guardView{fourNodes(r.now)})
	if set := of[setFailed](out); len(set) != 1 || len(set[0].failed) != 1 || set[0].failed[0].ID != 3 {
		t.Fatalf("set %v as failed, want node 3", set)
	}
	r.want("read", []readRecords{{7, []topology.NodeID{3, 0}}}, of[readRecords](out))
	r.want("of the store", []readConns{{7, "n3"}}, of[readConns](out))

	blind, young := mine[1], others[1]
	blind.ClientMAC, young.Owner = topology.MAC{}, 2 // known from the store only; of another
	out = r.step(recordsRead{7, []bpf.Guarded{mine[0], blind, others[0], young}, nil})
	r.want("probed at once", flowsOf(mine), probedIn(out))
	for round := 2; round <= sweepRounds; round++ {
		r.want("read in the next round", []readRecords{{7, []topology.NodeID{3}}}, of[readRecords](r.pass(sweepEvery)))
		r.want("probed again", flowsOf(mine[:1]), probedIn(r.step(recordsRead{7, mine[:1], nil})))
	}
	r.pass(sweepEvery)
	out = append(r.step(recordsRead{7, mine[:1], nil}), r.pass(time.Minute)...)
	if len(out) > 0 {
		t.Errorf("after the last round: %v", out)
	}
}

func TestASweepEndsWhenAllAreGone(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	r.step(recordsRead{7, r.mine(1, true), nil})
	r.pass(sweepEvery)
	out := append(r.step(recordsRead{7, nil, nil}), r.pass(time.Minute)...)
	if len(out) > 0 {
		t.Errorf("done for nobody: %v", out)
	}
}

func TestASweepIsPaced(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	all := r.mine(8000, true)
	first := probedIn(r.step(recordsRead{7, all, nil}))
	if len(first) != probeBurst {
		t.Errorf("%d probes at once, want %d", len(first), probeBurst)
	}
	second := r.pass(time.Second)
	if n := len(probedIn(second)); n > probeRate || n < probeRate*9/10 {
		t.Errorf("%d probes in a second, want %d", n, probeRate)
	}
	third := r.pass(time.Second)
	r.want("each once, before the next round", flowsOf(all), append(first, probedIn(append(second, third...))...))
	if n := len(of[readRecords](append(second, third...))); n != 1 {
		t.Errorf("%d rounds began, want one, after the first", n)
	}
}

func TestUnknownOwnersAreAskedAbout(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	unknown := r.mine(2, true)
	unknown[0].Owner, unknown[1].Owner = 0, 0
	questions := asked(r.step(recordsRead{7, unknown, nil}))
	if len(questions) != 4 {
		t.Fatalf("asked %v, want two nodes about two connections", questions)
	}
	for _, q := range questions[:2] {
		out := r.step(nodeAnswered{bpf.Answer{Asked: q.Asked, Nonce: q.Nonce, Flow: q.Flow}})
		if q.Asked == 4 {
			r.want("nobody has it", []attribute{{flowsOf(unknown[:1]), 3}}, of[attribute](out))
			r.want("counted", []countStray{{outcomeCondemned}}, of[countStray](out))
			r.want("probed with what was known", flowsOf(unknown[:1]), probedIn(out))
		}
	}
	last := questions[3]
	out := r.step(nodeAnswered{bpf.Answer{Asked: last.Asked, Nonce: last.Nonce, Flow: last.Flow, Yes: true}})
	r.want("a node has it", []attribute{{flowsOf(unknown[1:]), last.Asked}}, of[attribute](out))
	r.want("counted", []countStray{{outcomeOwned}}, of[countStray](out))
}

func TestAStray(t *testing.T) {
	r := newGuardRig(t)
	mine, other := r.mine(1, true)[0], r.mine(1, false)[0]
	r.want("before the failure", []countStray{{outcomeNoDuty}}, of[countStray](r.step(strayNoticed{mine.Flow})))
	r.step(guardView{fourNodes(r.now)})
	r.step(recordsRead{7, nil, nil})
	r.want("of another's slot", []countStray{{outcomeNoDuty}}, of[countStray](r.step(strayNoticed{other.Flow})))
	questions := asked(r.step(strayNoticed{mine.Flow}))
	if len(questions) != 2 {
		t.Fatalf("asked %v, want two nodes", questions)
	}
	_, out := r.rounds(r.sayNo(questions), adoptedWithin)
	r.want("condemned", []attribute{{flowsOf([]bpf.Guarded{mine}), 3}}, of[attribute](out))
	r.want("its record is looked for", []readRecords{{7, []topology.NodeID{3}}}, of[readRecords](r.pass(rereadAfter)))
	r.want("probed", flowsOf([]bpf.Guarded{mine}), probedIn(r.step(recordsRead{7, []bpf.Guarded{mine}, nil})))
}

// Records outlive their connections: what is open for sure, or was seen last, is
// probed before the others.
func TestWhoIsProbedFirst(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	all := r.mine(probeBurst+3, true)
	for i := range all {
		all[i].Seen = time.Hour
	}
	late, open, last := &all[probeBurst], &all[probeBurst+1], &all[probeBurst+2]
	late.Seen, last.Seen = time.Minute, 2*time.Hour
	first := probedIn(r.step(recordsRead{7, all, nil}))
	r.want("seen last", late.Flow, first[0])
	r.step(connsRead{7, connsOf([]bpf.Guarded{*last, *open}), nil})
	r.want("open, then the others", flowsOf([]bpf.Guarded{*open, *last, all[probeBurst-1]}), probedIn(r.pass(2*pace)))
}

func connsOf(records []bpf.Guarded) (out []state.Conn) {
	for _, g := range records {
		out = append(out, state.Conn{Node: "n3", Service: "web", Client: g.Flow.Client, VIP: g.Flow.VIP})
	}
	return out
}

func TestTheStoresConnections(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	mine, others := r.mine(2, true), r.mine(1, false)
	r.step(recordsRead{7, mine[:1], nil})
	conns := connsOf(append(mine, others...))
	questions := asked(r.step(connsRead{7, conns, nil}))
	if len(questions) != 2 || questions[0].Flow != mine[1].Flow {
		t.Errorf("asked %v, want two nodes about the connection that the filter does not know", questions)
	}
	early := r.pass(forgetAfter - time.Millisecond)
	r.want("deleted before it was dealt with", []deleteConns{}, of[deleteConns](early))
	r.want("deleted", []deleteConns{{7, conns[:2]}}, of[deleteConns](r.pass(time.Millisecond*3)))
	r.step(connsDeleted{7, conns[:2], errors.New("out of reach")})
	r.want("tried again", []deleteConns{{7, conns[:2]}}, of[deleteConns](r.pass(retryAfter)))
	r.step(connsDeleted{7, conns[:2], nil})
	r.want("done", []deleteConns{}, of[deleteConns](r.pass(time.Minute)))
}

func TestAReturnedNodeDeletesItself(t *testing.T) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	r.step(guardView{v})
	r.step(connsRead{7, connsOf(r.mine(1, true)), nil})
	back(&v, 7, 9, r.now)
	r.step(guardView{v})
	r.want("deleted", []deleteConns{}, of[deleteConns](r.pass(time.Minute)))
}

func TestDutiesEnd(t *testing.T) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	r.step(guardView{v})
	back(&v, 7, 9, r.now)
	if out := of[setFailed](r.step(guardView{v})); len(out) > 0 {
		t.Errorf("set %v when it came back, want no change", out)
	}
	if out := of[setFailed](r.pass(2 * time.Minute)); len(out) != 1 || len(out[0].failed) > 0 {
		t.Errorf("set %v after a cookie's lifetime, want nobody", out)
	}
}

func TestAGuardTriesAgain(t *testing.T) {
	r := newGuardRig(t)
	r.step(guardView{fourNodes(r.now)})
	r.step(failedNotSet{})
	r.step(recordsRead{7, nil, errors.New("no map")})
	r.step(connsRead{7, nil, errors.New("out of reach")})
	out := r.pass(retryAfter)
	if set := of[setFailed](out); len(set) != 1 || len(set[0].failed) != 1 {
		t.Errorf("set %v, want node 3", set)
	}
	r.want("read", []readRecords{{7, []topology.NodeID{3, 0}}}, of[readRecords](out))
	r.want("of the store", []readConns{{7, "n3"}}, of[readConns](out))
}

// A guard that died is followed by others: they take its slots on, and begin there.
func TestSlotsOfADeadGuard(t *testing.T) {
	r := newGuardRig(t)
	v := fourNodes(r.now)
	r.step(guardView{v})
	r.step(recordsRead{7, nil, nil})
	r.step(connsRead{7, nil, nil})
	fail(&v, "n4", 8, &r.now)
	out := r.step(guardView{v})
	r.want("read", []readRecords{{7, []topology.NodeID{3, 0}}, {8, []topology.NodeID{4, 0}}}, of[readRecords](out))
	r.want("of the store", []readConns{{7, "n3"}, {8, "n4"}}, of[readConns](out))
	if out := r.step(guardView{v}); len(out) > 0 {
		t.Errorf("done for the same View again: %v", out)
	}
}

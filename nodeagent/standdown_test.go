// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// failedView has n1 failed, in the given boot.
func failedView(epoch uint64, boot uint64) state.View {
	v := testView()
	n1 := v.Nodes["n1"]
	n1.State, n1.Failure, n1.Incarnation = state.NodeFailed, epoch, formatIncarnation(boot)
	v.Nodes["n1"] = n1
	v.Failures = map[uint64]state.Failure{epoch: {Schema: state.Schema, Epoch: epoch, Node: "n1", ID: 1,
		Incarnation: formatIncarnation(boot), Reason: state.FailureSilence}}
	return v
}

// backView has n1 back, under id 3.
func backView(epoch uint64) state.View {
	v := failedView(epoch, 100)
	n1 := v.Nodes["n1"]
	n1.ID, n1.State = 3, state.NodeUp
	v.Nodes["n1"] = n1
	return v
}

func (s *story) see(v state.View) []action { return s.step(viewChanged{state.Update{View: v}}) }

func TestAFailedNodeStandsDown(t *testing.T) {
	s := runningStory(t)
	out := s.see(failedView(7, 100))
	want := standDown{epoch: 7, vips: []netip.Addr{vip4, vip6}}
	opts := cmp.Options{cmp.AllowUnexported(standDown{}), cmpopts.EquateComparable(netip.Addr{})}
	if diff := cmp.Diff(want, one[standDown](t, out), opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !saysOf(out, "declared failed") || !one[watchConns](t, out).rules.paused {
		t.Errorf("it is not said, or its records of connections go: %+v", out)
	}
	if w := one[publish](t, out).record.Warnings; len(w) != 1 || !strings.Contains(w[0], "silence, failure 7") {
		t.Errorf("warnings %q", w)
	}
	none[install](t, out)
	none[send](t, s.beat())
	none[setLoads](t, s.beat())
	none[standDown](t, s.see(failedView(7, 100)))

	out = s.step(stoodDown{epoch: 7, destroyed: 3})
	if got := one[publish](t, out).record.Cleared; got != 7 || !saysOf(out, "waits for another id") {
		t.Errorf("cleared is %d, want 7", got)
	}
	none[standDown](t, s.step(reportDue{}))
}

// The VIPs of a node that was booted after its failure are not on lo yet: a check would
// leave the node, and meet another one's server.
func TestAFailedNodeOfAnotherBootChecksNothing(t *testing.T) {
	s := newStory(t)
	none[runChecks](t, s.see(failedView(7, 99)))
	v := backView(7)
	n1 := v.Nodes["n1"]
	n1.Incarnation = formatIncarnation(100)
	v.Nodes["n1"] = n1
	out := s.see(v)
	at := func(isIt func(action) bool) int { return slices.IndexFunc(out, isIt) }
	installs := at(func(a action) bool { _, is := a.(install); return is })
	checks := at(func(a action) bool { _, is := a.(runChecks); return is })
	if installs < 0 || checks < installs {
		t.Errorf("installs at %d, checks at %d: want both, and checks later", installs, checks)
	}
	none[runChecks](t, s.see(v))
}

func TestATakenBackNodeBeginsAnew(t *testing.T) {
	s := runningStory(t)
	s.see(failedView(7, 100))
	s.step(stoodDown{epoch: 7})
	out := s.see(backView(7))
	if got := one[install](t, out).want.self.ID; got != 3 || !saysOf(out, "taken back") || one[watchConns](t, out).rules.paused {
		t.Errorf("installs id %d, actions %+v", got, out)
	}
	if got := one[publish](t, out).record; got.Warnings != nil || got.Cleared != 7 {
		t.Errorf("record is %+v", got)
	}
	none[setLoads](t, s.beat()) // it listens first
	s.now = s.now.Add(300 * time.Millisecond)
	s.hear(func(h *heartbeat) { h.Services[0].Active = 3 })
	table := one[setLoads](t, s.beat()).table
	if !slices.Equal(listed(table), []topology.NodeID{3, 2}) && !slices.Equal(listed(table), []topology.NodeID{2, 3}) {
		t.Errorf("lists %v, want 2 and 3", listed(table))
	}
	none[standDown](t, s.see(backView(7)))
	if got := one[standDown](t, s.see(failedView(8, 100))).epoch; got != 8 {
		t.Errorf("stands down for failure %d, want 8", got)
	}
}

// The load tables in the kernel are of before the failure: no slot may be served by
// them under the new id.
func TestATakenBackNodePicksNobodyThatIsDead(t *testing.T) {
	addDead := func(v *state.View) {
		v.Nodes["n4"] = state.Node{Schema: state.Schema, Name: "n4", ID: 4, State: state.NodeFailed, Failure: 6, Weight: 1}
		web := v.Services["web"]
		web.Policy = topology.SourceHash
		v.Services["web"] = web
	}
	view := func(v state.View) state.View { addDead(&v); return v }
	for _, tt := range []struct {
		name string
		do   func(s *story)
		want []topology.NodeID
	}{
		{"all are well", func(s *story) { s.hear() }, []topology.NodeID{2, 3}},
		{"the other is ill", func(s *story) { s.hear(func(h *heartbeat) { h.Services[0].Healthy = false }) }, []topology.NodeID{3}},
		{"none is known to be well", func(s *story) { s.core.health["web"].healthy = false }, []topology.NodeID{2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := runningStory(t, addDead)
			s.n.Assigned[2] = 50
			s.beat()
			s.see(view(failedView(7, 100)))
			s.step(stoodDown{epoch: 7})
			tt.do(s)
			out := s.see(view(backView(7)))
			at := func(isIt func(action) bool) int { return slices.IndexFunc(out, isIt) }
			loads := at(func(a action) bool { _, is := a.(setLoads); return is })
			hash := at(func(a action) bool { _, is := a.(setSourceHash); return is })
			slots := at(func(a action) bool { _, is := a.(install); return is })
			if loads < 0 || hash < 0 || slots < max(loads, hash) {
				t.Fatalf("loads, source-hash and slots come at %d, %d, %d", loads, hash, slots)
			}
			table := one[setLoads](t, out).table
			if got := listed(table); !slices.Equal(got, tt.want) {
				t.Errorf("lists %v, want %v", got, tt.want)
			}
			if table[0].Node == 2 && table[0].Settled != 50 {
				t.Errorf("of node 2 %d are settled, want all 50: nothing is in flight", table[0].Settled)
			}
			if rows := one[setSourceHash](t, out).table; slices.Contains(rows, 1) || slices.Contains(rows, 4) || !slices.Contains(rows, 3) {
				t.Error("source-hash names a dead node, or not this one")
			}
		})
	}
}

// An agent that was started while its node stands down finds programs with old tables.
func TestAnAgentStartedInAFailureReplacesTheLoads(t *testing.T) {
	s := newStory(t)
	s.see(failedView(7, 100))
	s.step(stoodDown{epoch: 7})
	if got := listed(one[setLoads](t, s.see(backView(7))).table); !slices.Equal(got, []topology.NodeID{3}) {
		t.Errorf("lists %v, want 3, which alone is known to be well", got)
	}
	s = newStory(t)
	s.see(failedView(7, 99)) // of another boot: there are no programs
	none[setLoads](t, s.see(backView(7)))
}

// What ended with an earlier boot left no sockets behind, and an id that must not
// come to life again.
func TestARebootedNodeWaitsForItsID(t *testing.T) {
	s := newStory(t)
	v := testView()
	n1 := v.Nodes["n1"]
	n1.Incarnation = formatIncarnation(99)
	v.Nodes["n1"] = n1
	out := s.see(v)
	none[install](t, out)
	if w := one[publish](t, out).record.Warnings; len(w) != 1 || !strings.Contains(w[0], "booted anew") {
		t.Errorf("warnings %q", w)
	}
	out = s.see(failedView(7, 99))
	none[install](t, out)
	none[standDown](t, out)
	if !saysOf(out, "before it was booted") {
		t.Errorf("says %+v", only[say](out))
	}
	if got := one[install](t, s.see(backView(7))).want.self.ID; got != 3 {
		t.Errorf("installs id %d, want 3", got)
	}
}

func TestStandingDownIsTriedAgain(t *testing.T) {
	s := runningStory(t)
	s.see(failedView(7, 100))
	bad := stoodDown{epoch: 7, err: errors.New("no such thing")}
	out := s.step(bad)
	if w := one[publish](t, out).record.Warnings; len(w) != 1 || !strings.Contains(w[0], "no such thing") || !saysOf(out, "can not stand down") {
		t.Errorf("warnings %q", w)
	}
	none[standDown](t, s.step(reportDue{}))
	s.now = s.now.Add(time.Second)
	one[standDown](t, s.step(reportDue{}))
	if saysOf(s.step(bad), "can not stand down") {
		t.Error("the same is said twice")
	}
}

func TestAnAgentStandsDownAndComesBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.start("n2", 200)
		b.pass(time.Second)
		m.take()
		m.setConns(connOf(1, 11))
		b.pass(7 * time.Second)
		b.wantStored(1)
		m.take()

		b.apply(failedView(7, 100))
		b.pass(time.Second)
		wantCalls(t, m, "quiesce", "destroy [10.77.0.1 fd77::1]", "cleared 7")
		if got := b.view().Agents["n1"]; got.Cleared != 7 || len(got.Warnings) != 1 {
			t.Errorf("record is %+v", got)
		}
		wantMetric(t, m, "onevip_agent_stand_downs_total", 1)
		m.setConns()
		b.pass(5 * time.Second)
		b.wantStored(1) // the others still need it

		again := b.restart(m, "n1", 100)
		b.pass(time.Second)
		wantCalls(t, again, "open", "quiesce")
		if got := b.view().Agents["n1"].Cleared; got != 7 {
			t.Errorf("the next agent says cleared %d, want 7", got)
		}

		b.apply(backView(7))
		b.pass(3 * time.Second)
		if calls := again.take(); !slices.Contains(calls, "self 3 scale 7") || slices.ContainsFunc(calls, isDestroy) {
			t.Errorf("done to the kernel: %q", calls)
		}
		b.wantListed(again, 3, 2)
		b.wantStored()
	})
}

func isDestroy(call string) bool { return strings.HasPrefix(call, "destroy") }

func wantCalls(t *testing.T, m *member, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.take()); diff != "" {
		t.Errorf("done to the kernel (-want +got):\n%s", diff)
	}
}

// restart ends an agent and starts another on the same kernel.
func (b *bubble) restart(m *member, name topology.NodeName, boot uint64) *member {
	b.t.Helper()
	m.stop()
	if err := <-m.ended; err != nil {
		b.t.Errorf("ended with %v", err)
	}
	cleared, _ := m.filter.Cleared()
	next := b.start(name, boot)
	next.filter.locked(func() { next.filter.cleared = cleared })
	return next
}

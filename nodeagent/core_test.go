// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// story drives a core of node n1 and keeps the time.
type story struct {
	t    *testing.T
	core *core
	now  time.Time
	n    bpf.Counts // of service 0
}

func newStory(t *testing.T) *story {
	about := state.Agent{Schema: state.Schema, Name: "n1", Incarnation: formatIncarnation(100)}
	return &story{t: t, core: newCore(about, maxFrame, 1000), now: start}
}

// runningStory is past the installation and the time of listening.
func runningStory(t *testing.T, edit ...func(*state.View)) *story {
	s := newStory(t)
	v := testView()
	for _, e := range edit {
		e(&v)
	}
	s.step(viewChanged{state.Update{View: v}})
	s.step(installed{epoch: 4})
	s.now = s.now.Add(time.Second)
	return s
}

func (s *story) step(ev event) []action { return s.core.Step(s.now, ev) }

func (s *story) beat() []action { return s.step(beatDue{counts{0: s.n}}) }

// hear takes a heartbeat of node 2.
func (s *story) hear(edit ...func(*heartbeat)) []action {
	h := beatOf(2, 200, uint64(s.now.UnixNano()))
	for _, e := range edit {
		e(&h)
	}
	return s.step(frameReceived{h.encode(testKey, maxFrame)[0]})
}

// only gives the actions of one type.
func only[T action](actions []action) (out []T) {
	for _, a := range actions {
		if a, ok := a.(T); ok {
			out = append(out, a)
		}
	}
	return out
}

// one gives the only action of a type.
func one[T action](t *testing.T, actions []action) T {
	t.Helper()
	found := only[T](actions)
	if len(found) != 1 {
		t.Fatalf("%d actions of type %s, want 1, in %+v", len(found), reflect.TypeFor[T](), actions)
	}
	return found[0]
}

// none fails if there is an action of a type.
func none[T action](t *testing.T, actions []action) {
	t.Helper()
	if found := only[T](actions); len(found) > 0 {
		t.Fatalf("unexpected %+v", found)
	}
}

func TestNothingIsInstalledWithoutAnID(t *testing.T) {
	s := newStory(t)
	out := s.step(viewChanged{state.Update{View: state.View{}}})
	none[install](t, out)
	want := []string{"waiting for the controller to give this node an id"}
	if diff := cmp.Diff(want, one[publish](t, out).record.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	none[send](t, s.beat())
	if got := one[countFrame](t, s.hear()); got.as != refusedNoKey {
		t.Errorf("heartbeat is counted as %q, want %q", got.as, refusedNoKey)
	}
}

func TestTablesAreInstalledWhenTheyChange(t *testing.T) {
	s := newStory(t)
	out := s.step(viewChanged{state.Update{View: testView()}})
	if got := one[install](t, out); got.want.self.ID != 1 || got.want.epoch != 4 {
		t.Errorf("installs %+v", got.want.self)
	}
	one[runChecks](t, out)
	out = s.step(viewChanged{state.Update{View: testView()}})
	none[install](t, out)
	none[runChecks](t, out)
	v := testView()
	v.Slots.Epoch = 5
	if got := one[install](t, s.step(viewChanged{state.Update{View: v}})); got.want.epoch != 5 {
		t.Errorf("installs epoch %d, want 5", got.want.epoch)
	}
}

func TestTheRecordTellsWhatIsInstalled(t *testing.T) {
	s := newStory(t)
	s.step(viewChanged{state.Update{View: testView()}})
	got := one[publish](t, s.step(installed{epoch: 4})).record
	if got.SlotEpoch != 4 || got.Warnings != nil {
		t.Errorf("epoch %d, warnings %q, want 4 and none", got.SlotEpoch, got.Warnings)
	}
	got = one[publish](t, s.step(installed{epoch: 4, failed: []string{"not installed: x"}})).record
	if !slices.Equal(got.Warnings, []string{"not installed: x"}) {
		t.Errorf("warnings %q", got.Warnings)
	}
	got = one[publish](t, s.step(surveyed{[]string{"lro is on"}})).record
	if !slices.Equal(got.Warnings, []string{"lro is on", "not installed: x"}) {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func TestNoHeartbeatBeforeAllIsInstalled(t *testing.T) {
	s := newStory(t)
	s.step(viewChanged{state.Update{View: testView()}})
	none[send](t, s.beat())
	s.step(installed{failed: []string{"x"}})
	none[send](t, s.beat())
	s.step(installed{epoch: 4})
	one[send](t, s.beat())
}

func TestHeartbeatsSayHowItIs(t *testing.T) {
	s := runningStory(t, func(v *state.View) {
		web := v.Services["web"]
		web.MaxConns = 10
		v.Services["web"] = web
	})
	s.n.Active, s.n.Adopted[2], s.n.Adopted[255] = 10, 33, 9
	got, refused := decode(one[send](t, s.beat()).frames[0], testKey)
	want := heartbeat{Node: 1, Incarnation: 100, Sequence: 1000,
		Services: []serviceBeat{{Healthy: true, Full: true, Active: 10, Adopted: []adoption{{2, 33}}}}}
	if diff := cmp.Diff(want, got); diff != "" || refused != accepted {
		t.Errorf("refused: %q (-want +got):\n%s", refused, diff)
	}
	next, _ := decode(one[send](t, s.beat()).frames[0], testKey)
	if next.Sequence != 1001 {
		t.Errorf("next sequence is %d, want 1001", next.Sequence)
	}
	last, _ := decode(one[send](t, s.step(stopping{})).frames[0], testKey)
	if !last.Leaving || last.Sequence != 1002 {
		t.Errorf("last heartbeat is %+v, want one that says leaving", last)
	}
}

func TestListensBeforeItWritesLoads(t *testing.T) {
	s := newStory(t)
	s.step(viewChanged{state.Update{View: testView()}})
	s.step(installed{epoch: 4})
	none[setLoads](t, s.beat())
	s.now = s.now.Add(300 * time.Millisecond)
	s.hear()
	if got := listed(one[setLoads](t, s.beat()).table); !slices.Equal(got, []topology.NodeID{1, 2}) {
		t.Errorf("lists %v, want 1 and 2", got)
	}
}

func TestLoadsFollowHeartbeats(t *testing.T) {
	s := runningStory(t)
	one[scheduleLoads](t, s.hear())
	got := one[setLoads](t, s.step(loadsDue{counts{0: s.n}}))
	want := []bpf.Load{{Node: 1, Weight: whole}, {Node: 2, Weight: whole, Active: 5}}
	if diff := cmp.Diff(want, got.table); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	none[setLoads](t, s.step(loadsDue{counts{0: s.n}}))
	s.step(notWritten{0})
	one[setLoads](t, s.step(loadsDue{counts{0: s.n}}))
}

// A node's own numbers must not be fresher than the others'.
func TestOwnLoadIsAsOldAsItsHeartbeat(t *testing.T) {
	s := runningStory(t)
	s.n.Active, s.n.Assigned[1], s.n.Adopted[1] = 9, 9, 9
	s.beat()
	s.now = s.now.Add(calmFor)
	s.n.Active, s.n.Assigned[1], s.n.Adopted[1] = 2, 12, 12
	s.hear()
	got := one[setLoads](t, s.step(loadsDue{counts{0: s.n}})).table[0]
	if got.Active != 9 || got.Settled != 9 {
		t.Errorf("own load is %+v, want 9 active and 9 settled, as the heartbeat said", got)
	}
	s.beat()
	s.now = s.now.Add(calmFor)
	got = one[setLoads](t, s.beat()).table[0]
	if got.Active != 2 || got.Settled != 12 {
		t.Errorf("own load is %+v, want 2 active and 12 settled after the next heartbeat", got)
	}
}

func TestSilentNodesAreNotPicked(t *testing.T) {
	s := runningStory(t)
	s.hear()
	s.beat()
	s.now = s.now.Add(300 * time.Millisecond)
	none[setLoads](t, s.beat())
	s.now = s.now.Add(time.Millisecond)
	out := s.beat()
	if got := listed(one[setLoads](t, out).table); !slices.Equal(got, []topology.NodeID{1}) {
		t.Errorf("lists %v, want 1 alone", got)
	}
	if got := one[say](t, out); got.message != "node is not picked" || !slices.Contains(got.args, any("silent")) {
		t.Errorf("says %q %v", got.message, got.args)
	}
	if got := one[setPickable](t, out); got.nodes != 1 {
		t.Errorf("counts %d pickable nodes, want 1", got.nodes)
	}
}

func TestExclusions(t *testing.T) {
	tests := []struct {
		heard, drained, healthy, full bool
		want                          exclusion
	}{
		{true, false, true, false, pickable},
		{false, true, false, true, silent},
		{true, true, false, true, draining},
		{true, false, false, true, unhealthy},
		{true, false, true, true, full},
	}
	for _, tt := range tests {
		if got := excluded(tt.heard, tt.drained, tt.healthy, tt.full); got != tt.want {
			t.Errorf("excluded(%t, %t, %t, %t) = %q, want %q", tt.heard, tt.drained, tt.healthy, tt.full, got, tt.want)
		}
	}
}

func TestFailsOpenAndSaysSoOnce(t *testing.T) {
	s := runningStory(t, withTCPCheck)
	web := s.core.view.Services["web"]
	s.step(checkEnded{"web", web.Health, "refused"})
	s.hear(func(h *heartbeat) { h.Services[0].Healthy = false })
	out := s.beat()
	if got := listed(one[setLoads](t, out).table); !slices.Equal(got, []topology.NodeID{1, 2}) {
		t.Errorf("lists %v, want both", got)
	}
	if !one[setPickable](t, out).failOpen || !saysOf(out, "no node is healthy") {
		t.Errorf("does not say that it fails open: %+v", out)
	}
	if saysOf(s.beat(), "no node is healthy") {
		t.Error("says it twice")
	}
	s.now = s.now.Add(time.Millisecond)
	s.hear()
	out = s.beat()
	if got := listed(one[setLoads](t, out).table); !slices.Equal(got, []topology.NodeID{2}) || !saysOf(out, "healthy again") {
		t.Errorf("lists %v, want 2 alone, and words", got)
	}
}

func withTCPCheck(v *state.View) {
	web := v.Services["web"]
	web.Health = state.Health{Type: topology.HealthTCP, Rise: 1, Fall: 1}
	v.Services["web"] = web
}

func saysOf(actions []action, part string) bool {
	return slices.ContainsFunc(only[say](actions), func(s say) bool { return strings.Contains(s.message, part) })
}

func TestHealthReachesRecordAndHeartbeat(t *testing.T) {
	s := runningStory(t, withTCPCheck)
	none[setLoads](t, s.beat()) // the own server was not looked at yet
	check := s.core.view.Services["web"].Health
	out := s.step(checkEnded{"web", check, "10.77.0.1:80: connection refused"})
	want := map[topology.ServiceName]state.AgentHealth{"web": {Reason: "10.77.0.1:80: connection refused"}}
	if diff := cmp.Diff(want, one[publish](t, out).record.Services); diff != "" || !saysOf(out, "service is unhealthy") {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if got, _ := decode(one[send](t, s.beat()).frames[0], testKey); got.Services[0].Healthy {
		t.Error("the heartbeat says healthy")
	}
	other := check
	other.Fall = 9
	if out := s.step(checkEnded{"web", other, ""}); len(out) > 0 {
		t.Errorf("the result of a check that is not in force any more leads to %+v", out)
	}
	if !saysOf(s.step(checkEnded{"web", check, ""}), "service is healthy") {
		t.Error("does not say that the service is healthy")
	}
}

func TestEtcdOutageChangesNothingAndIsSaidOnce(t *testing.T) {
	s := runningStory(t)
	out := s.step(viewChanged{state.Update{View: testView(), Err: errors.New("no route")}})
	if one[setReach](t, out).ok || !saysOf(out, "etcd is out of reach") {
		t.Errorf("does not say it: %+v", out)
	}
	none[install](t, out)
	if out := s.step(viewChanged{state.Update{Err: errors.New("no route")}}); len(out) > 0 {
		t.Errorf("says it twice: %+v", out)
	}
	one[send](t, s.beat())
	out = s.step(viewChanged{state.Update{View: testView()}})
	if !one[setReach](t, out).ok || !saysOf(out, "in reach again") {
		t.Errorf("does not say that it is over: %+v", out)
	}
}

func TestANodeThatIsNotListedKeepsItsTables(t *testing.T) {
	for _, edit := range []func(*state.View){
		func(v *state.View) { delete(v.Nodes, "n1") },
		func(v *state.View) { v.Cluster = nil },
	} {
		s := runningStory(t)
		v := testView()
		edit(&v)
		out := s.step(viewChanged{state.Update{View: v}})
		none[install](t, out)
		if w := one[publish](t, out).record.Warnings; len(w) != 1 || !strings.Contains(w[0], "does not list this node any more") {
			t.Errorf("warnings %q", w)
		}
		one[send](t, s.beat())
	}
}

func TestFramesAreCountedByReason(t *testing.T) {
	s := runningStory(t)
	if got := one[countFrame](t, s.hear()); got.as != accepted {
		t.Errorf("counted as %q", got.as)
	}
	if got := one[countFrame](t, s.hear()); got.as != refusedReplay {
		t.Errorf("counted as %q, want %q", got.as, refusedReplay)
	}
	forged := beatOf(2, 200, 1).encode([]byte("wrong key"), maxFrame)[0]
	out := s.step(frameReceived{forged})
	if got := one[countFrame](t, out); got.as != refusedForged || len(out) != 1 {
		t.Errorf("a forged frame leads to %+v", out)
	}
}

func TestNumbersArePublishedOnceASecond(t *testing.T) {
	s := runningStory(t)
	s.step(reportDue{})
	s.n.Active, s.n.Adopted[1], s.n.Adopted[2] = 3, 10, 5
	none[publish](t, s.beat())
	none[publish](t, s.step(viewChanged{state.Update{View: testView()}}))
	got := one[publish](t, s.step(reportDue{})).record.Services["web"]
	if diff := cmp.Diff(state.AgentHealth{Healthy: true, Active: 3, Adopted: 15}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	none[publish](t, s.step(reportDue{}))
}

func TestServicesComeAndGo(t *testing.T) {
	s := runningStory(t)
	v := testView()
	v.Services["mail"] = state.Service{Name: "mail", ID: 1, VIPs: v.Services["web"].VIPs, Port: 25,
		Policy: topology.RoundRobin, Health: state.Health{Type: topology.HealthTCP}}
	out := s.step(viewChanged{state.Update{View: v}})
	if got := one[runChecks](t, out).services; len(got) != 2 || got[1].Name != "mail" {
		t.Errorf("checks %+v", got)
	}
	if got := one[publish](t, out).record.Services["mail"]; got.Healthy || got.Reason != notChecked {
		t.Errorf("mail is %+v before any check", got)
	}
	out = s.step(viewChanged{state.Update{View: testView()}})
	if got := one[runChecks](t, out).services; len(got) != 1 || len(s.core.loads) != 1 || len(s.core.health) != 1 {
		t.Errorf("a service that is gone is kept: %+v", got)
	}
}

// Programs without a pulse for two seconds do not pick their own node; heartbeats may
// be ten seconds apart.
func TestTheProgramsAreToldEachSecondThatTheAgentLives(t *testing.T) {
	s := newStory(t)
	none[pulse](t, s.step(reportDue{}))
	s.step(viewChanged{state.Update{View: testView()}})
	none[pulse](t, s.step(reportDue{})) // there may be no filter yet
	s.step(installed{epoch: 4})
	one[pulse](t, s.step(reportDue{}))
	one[pulse](t, s.beat())
	s.see(failedView(7, 100))
	none[pulse](t, s.step(reportDue{}))
	s.see(backView(7))
	one[pulse](t, s.step(reportDue{}))
}

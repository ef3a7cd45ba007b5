// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
)

// TestSession tries one session after another on one switch.
func TestSession(t *testing.T) {
	f := newFixture(t)
	s := f.accept(t)
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		name string
		test func(*testing.T, *fixture, *ovs.Session)
	}{
		{"operator's flows stay", testOperatorsFlows},
		{"apply twice sends nothing", testApplyTwice},
		{"settle changes nothing", testSettleChangesNothing},
		{"bundle error", testBundleError},
		{"port events", testPortEvents},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, f, s) })
	}
	t.Run("text is ovs-ofctl's", func(t *testing.T) { testText(t, f, s) })
	t.Run("old leader can't write", func(t *testing.T) { testOldLeader(t, f, s) })
}

func apply(t *testing.T, f *fixture, s *ovs.Session) ovs.Pipeline {
	t.Helper()
	pipeline := ovs.Build(f.intent(), s.Ports())
	if _, err := s.Apply(t.Context(), pipeline); err != nil {
		t.Fatal(err)
	}
	return pipeline
}

func testApplyTwice(t *testing.T, f *fixture, s *ovs.Session) {
	pipeline := apply(t, f, s)
	again, err := s.Apply(t.Context(), pipeline)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Changes) != 0 || again.Kept != len(pipeline.Flows)+len(pipeline.Groups) {
		t.Errorf("second apply: %+v", again)
	}

	// A leader of another term finds all in place.
	if err := s.Claim(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if again, err = s.Apply(t.Context(), pipeline); err != nil || len(again.Changes) != 0 {
		t.Errorf("apply in the next term: %+v, error %v", again, err)
	}

	// One member less: its group buckets and flows go, nothing else is touched.
	intent := f.intent()
	intent.Members = intent.Members[:2]
	less, err := s.Apply(t.Context(), ovs.Build(intent, s.Ports()))
	if err != nil {
		t.Fatal(err)
	}
	if less.Changes[ovs.ReplaceGroup] != 2 || less.Changes[ovs.AddFlow] != 0 ||
		less.Changes[ovs.ReplaceFlow] != 0 || less.Changes[ovs.RemoveFlow] != 5 {
		t.Errorf("one member less: %+v", less)
	}
	checkRounds(t, s)
}

// checkRounds: what was written in term 1 still says so.
func checkRounds(t *testing.T, s *ovs.Session) {
	t.Helper()
	installed, err := s.Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, flow := range installed.Flows {
		if flow.Cookie.Round() != 1 {
			t.Errorf("round %d in %v", flow.Cookie.Round(), flow)
		}
	}
}

// testSettleChangesNothing: the flow that it writes again is as it was, and none
// comes to be where there is none of ours.
func testSettleChangesNothing(t *testing.T, f *fixture, s *ovs.Session) {
	const operators = "cookie=0x99, table=2, priority=0 actions=drop" // at the place of that flow
	for _, prepare := range []func(){
		func() { apply(t, f, s) },
		func() { f.sw.Ofctl(t, "del-flows", "br0") },
		func() { f.sw.Ofctl(t, "add-flow", "br0", operators) },
	} {
		prepare()
		before := lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0"))
		if err := s.Settle(t.Context(), f.sw.DB, never); err != nil {
			t.Fatal(err)
		}
		if after := lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0")); !slices.Equal(before, after) {
			t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
	f.sw.Ofctl(t, "del-flows", "br0")
}

func testOperatorsFlows(t *testing.T, f *fixture, s *ovs.Session) {
	const operators = "cookie=0x99, table=1, priority=7,tcp,tp_dst=22 actions=drop"
	f.sw.Ofctl(t, "add-flow", "br0", operators)
	f.sw.Ofctl(t, "add-flow", "br0", "cookie=0x98,table=3,priority=0,actions=drop") // at a place of ours
	f.sw.Ofctl(t, "add-group", "br0", "group_id=5,type=select,bucket=output:1")

	done, err := s.Apply(t.Context(), ovs.Build(f.intent(), s.Ports()))
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Conflicts) != 1 || done.Conflicts[0].Cookie.Kind() != ovs.KindNormal {
		t.Errorf("conflicts: %v", done.Conflicts)
	}
	if _, err := s.Apply(t.Context(), ovs.Pipeline{}); err != nil {
		t.Fatal(err)
	}
	left := lines(f.sw.Ofctl(t, "dump-groups", "br0") + f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0"))
	want := []string{
		"cookie=0x98, table=3, priority=0 actions=drop", operators,
		"group_id=5,type=select,bucket=actions=output:1",
	}
	if !slices.Equal(left, want) {
		t.Errorf("after the removal of ours:\n%s", strings.Join(left, "\n"))
	}
	f.sw.Ofctl(t, "del-flows", "br0")
	f.sw.Ofctl(t, "del-groups", "br0")
}

// testBundleError: the refused change is named, and nothing of the bundle is
// applied.
func testBundleError(t *testing.T, f *fixture, s *ovs.Session) {
	apply(t, f, s)
	before := lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0"))
	for _, tt := range []struct {
		name string
		bad  ovs.Flow
		want string
	}{
		{"refused when committed", ovs.Flow{Table: 5, Priority: 1, Actions: []ovs.Action{ovs.ToGroup{Group: 4711}}},
			"add flow cookie=0x1e77000200000000, table=5, priority=1 actions=group:4711: OFPBAC_BAD_OUT_GROUP"},
		{"refused when added", ovs.Flow{Table: 5, Priority: 2, Actions: []ovs.Action{ovs.Output{Port: 0xffffff05}}},
			"add flow cookie=0x1e77000200000000, table=5, priority=2 actions=output:4294967045: OFPBAC_BAD_OUT_PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wanted := ovs.Build(f.intent(), s.Ports())
			wanted.Flows = append(wanted.Flows, ovs.Flow{Table: 6, Priority: 1}, tt.bad, ovs.Flow{Table: 6, Priority: 2})
			_, err := s.Apply(t.Context(), wanted)
			var refusal *ovs.SwitchError
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if after := lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0")); !slices.Equal(before, after) {
				t.Errorf("flows have changed:\n%s", strings.Join(after, "\n"))
			}
		})
	}
	if _, err := s.Apply(t.Context(), ovs.Build(f.intent(), s.Ports())); err != nil {
		t.Errorf("the session is no use after a refusal: %v", err)
	}
}

// testOldLeader: who has not claimed, claims with an old term, or was
// displaced, writes nothing.
func testOldLeader(t *testing.T, f *fixture, old *ovs.Session) {
	pipeline := ovs.Build(f.intent(), old.Ports())
	if err := old.Claim(t.Context(), 5); err != nil {
		t.Fatal(err)
	}

	second := listenIn(t, f.sw, io.Discard) // the new leader's
	f.sw.Vsctl(t, "--", "--id=@c", "create", "controller", `target="tcp:`+second.Addr().String()+`"`,
		"connection_mode=out-of-band", "--", "add", "bridge", "br0", "controller", "@c")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	leader, err := second.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Apply(t.Context(), pipeline); !errors.Is(err, ovs.ErrNotMaster) {
		t.Errorf("apply without a claim: %v", err)
	}
	if err := leader.Claim(t.Context(), 4); !errors.Is(err, ovs.ErrStaleTerm) {
		t.Errorf("claim with an older term: %v", err)
	}
	if err := leader.Claim(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Apply(t.Context(), pipeline); !errors.Is(err, ovs.ErrNotMaster) {
		t.Errorf("apply by the old leader: %v", err)
	}
	if err := old.Claim(t.Context(), 5); !errors.Is(err, ovs.ErrStaleTerm) {
		t.Errorf("claim by the old leader: %v", err)
	}
	if done, err := leader.Apply(t.Context(), pipeline); err != nil || len(done.Changes) == 0 {
		t.Errorf("apply by the new leader: %+v, error %v", done, err)
	}
}

func testPortEvents(t *testing.T, f *fixture, s *ovs.Session) {
	up := func(name string) (there, up bool) {
		i := slices.IndexFunc(s.Ports(), func(p ovs.Port) bool { return p.Name == name })
		return i >= 0, i >= 0 && s.Ports()[i].Up
	}
	wait := func(what string, condition func() bool) {
		t.Helper()
		timeout := time.After(15 * time.Second)
		for !condition() {
			select {
			case <-s.PortsChanged():
			case <-timeout:
				t.Fatalf("waited in vain for: %s", what)
			}
		}
	}
	if there, isUp := up("n1"); !there || !isUp {
		t.Fatalf("n1 at first: there %v, up %v; all: %v", there, isUp, s.Ports())
	}
	f.members[0].Must(t, "ip", "link", "set", "eth0", "down")
	wait("n1 down", func() bool { _, isUp := up("n1"); return !isUp })
	f.members[0].Must(t, "ip", "link", "set", "eth0", "up")
	wait("n1 up", func() bool { _, isUp := up("n1"); return isUp })
	f.sw.Vsctl(t, "del-port", "br0", "n1")
	wait("n1 gone", func() bool { there, _ := up("n1"); return !there })
	f.sw.Vsctl(t, "add-port", "br0", "n1")
	wait("n1 back", func() bool { there, _ := up("n1"); return there })
}

// TestDeadSwitch: a switch that hangs is noticed within ListenOptions.Dead, and
// comes back as a new session.
func TestDeadSwitch(t *testing.T) {
	f := newFixture(t)
	s := f.installed(t)
	resume := f.sw.Pause(t)
	start := time.Now()
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Error("a hung switch was not noticed within 10 s")
	}
	if err := s.Err(); !errors.Is(err, ovs.ErrSilent) {
		t.Errorf("session ended with %v, want ErrSilent", err)
	}
	t.Logf("noticed after %v", time.Since(start))
	resume()
	s = f.accept(t)
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if done, err := s.Apply(t.Context(), ovs.Build(f.intent(), s.Ports())); err != nil || len(done.Changes) != 0 {
		t.Errorf("apply after the hang: %+v, error %v", done, err)
	}
	testRestartedSwitch(t, f, s)
}

// testRestartedSwitch: ovs-vswitchd forgets its flows when it dies; the new
// session finds that out and installs all again.
func testRestartedSwitch(t *testing.T, f *fixture, s *ovs.Session) {
	f.sw.Crash(t)
	<-s.Done()
	if err := s.Err(); !errors.Is(err, ovs.ErrHungUp) {
		t.Errorf("session ended with %v, want ErrHungUp", err)
	}
	f.sw.Revive(t)
	s = f.installed(t)
	if got := f.sw.Ofctl(t, "dump-flows", "br0"); !strings.Contains(got, "group:88501") {
		t.Errorf("flows after the restart:\n%s", got)
	}
	if s.DatapathID() != ovs.DatapathIDOf("lab", "s1") {
		t.Errorf("datapath id %v, want %v", s.DatapathID(), ovs.DatapathIDOf("lab", "s1"))
	}
}

// TestWrongVersion: a bridge without OpenFlow 1.3 is refused in words.
func TestWrongVersion(t *testing.T) {
	ovstest.Need(t)
	sw := ovstest.Start(t)
	log := &recorder{}
	l := listenIn(t, sw, log)
	sw.Vsctl(t, "add-br", "br1", "--", "set", "bridge", "br1", "datapath_type=netdev", "protocols=OpenFlow10",
		"--", "set-controller", "br1", "tcp:"+l.Addr().String())
	ovstest.WaitFor(t, "the refusal to be logged", func() bool {
		return strings.Contains(log.String(), "protocols=OpenFlow13") && strings.Contains(log.String(), "127.0.0.1")
	})
}

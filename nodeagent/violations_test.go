// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
)

func TestViolationsAreSaidWhenTheyBegin(t *testing.T) {
	var v violations
	for _, tt := range []struct {
		name   string
		read   map[string]uint64
		want   map[string]uint64
		saying int
	}{
		{"no filter yet", nil, nil, 0},
		{"of an earlier agent", map[string]uint64{"a": 2, "b": 0}, map[string]uint64{"a": 2}, 0},
		{"as before", map[string]uint64{"a": 2, "b": 0}, map[string]uint64{"a": 2}, 0},
		{"both grow", map[string]uint64{"a": 3, "b": 1}, map[string]uint64{"a": 3, "b": 1}, 2},
		{"one goes on", map[string]uint64{"a": 4, "b": 1}, map[string]uint64{"a": 4, "b": 1}, 0},
		{"unreadable", nil, map[string]uint64{"a": 4, "b": 1}, 0},
		{"the other begins again", map[string]uint64{"a": 4, "b": 2}, map[string]uint64{"a": 4, "b": 2}, 1},
	} {
		if said := v.take(seen(tt.read)); len(said) != tt.saying {
			t.Errorf("%s: said %v, want %d", tt.name, said, tt.saying)
		}
		if diff := cmp.Diff(tt.want, v.counts); diff != "" {
			t.Errorf("%s: counts (-want +got):\n%s", tt.name, diff)
		}
	}
}

// seen is a reading of so many violations; nil of none.
func seen(times map[string]uint64) map[string]bpf.Violation {
	if times == nil {
		return nil
	}
	out := map[string]bpf.Violation{}
	for invariant, n := range times {
		out[invariant] = bpf.Violation{Times: n}
	}
	return out
}

// What showed it is what one must know to find out why.
func TestAViolationIsSaidWithThePacketThatShowedIt(t *testing.T) {
	v := violations{counts: map[string]uint64{}}
	out := v.take(map[string]bpf.Violation{"stray_rst": {Times: 1, Last: bpf.Sight{
		Flow: flowNumber(1), Seq: 7, Ack: 9, Flags: 24, Interface: 3}}})
	want := flowNumber(1).String() + " PSH ACK seq 7 ack 9 by interface 3"
	if said := one[say](t, out); !slices.Contains(said.args, any(want)) {
		t.Errorf("said %v, want it to tell of %q", said.args, want)
	}
}

// A store that was restored from a copy says what was. Its tables are obeyed.
func TestAnEpochThatFallsIsAViolation(t *testing.T) {
	s := runningStory(t)
	created := s.now.Add(-time.Hour)
	for _, tt := range []struct {
		name    string
		epoch   uint64
		created time.Time
		falls   bool
	}{
		{"another cluster", 3, created, false},
		{"it grows", 9, created, false},
		{"it falls", 5, created, true},
		{"it stays", 5, created, false},
		{"it falls again", 4, created, true},
		{"a cluster made anew", 1, created.Add(time.Hour), false},
	} {
		v := testView()
		v.Cluster.Created, v.Slots.Epoch = tt.created, tt.epoch
		before := s.core.violations.regressions
		out := s.see(v)
		if fell := len(only[countRegression](out)) == 1; fell != tt.falls || saysOf(out, "epoch of the slot table fell") != tt.falls {
			t.Errorf("%s: counted and said is %+v, want %t", tt.name, out, tt.falls)
		}
		if tt.falls && one[publish](t, out).record.Violations[epochRegression] != before+1 {
			t.Errorf("%s: the record does not tell", tt.name)
		}
		if tt.epoch != 5 || tt.falls {
			if got := one[install](t, out).want.epoch; got != tt.epoch {
				t.Errorf("%s: installs epoch %d, want %d", tt.name, got, tt.epoch)
			}
		}
	}
	out := s.step(reportDue{map[string]bpf.Violation{"double_owner": {Times: 1}}})
	want := map[string]uint64{"double_owner": 1, epochRegression: 2}
	if diff := cmp.Diff(want, one[publish](t, out).record.Violations); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestRegressionsAreShownAsViolations(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.pass(time.Second)
		wantMetric(t, m, "onevip_agent_invariant_violations_total", 0)
		v := testView()
		v.Slots.Epoch = 3
		b.apply(v)
		b.pass(time.Second)
		wantMetric(t, m, "onevip_agent_invariant_violations_total", 1)
	})
}

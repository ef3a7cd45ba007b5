// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// withPolicy gives service web a policy, with the rules that go with it.
func withPolicy(p topology.Policy) func(*state.View) {
	return func(v *state.View) {
		web := v.Services["web"]
		web.Policy = p
		if p.Inspects() {
			web.Locality = &state.LocalityRules{Key: "path", Low: 25, High: 65, Decay: state.Duration(20 * time.Second), Bound: 1.25,
				Silent: state.Silent{After: state.Duration(3 * time.Second), Then: topology.SilentClose}}
		}
		v.Services["web"] = web
	}
}

func TestHomesAreWrittenWhenTheNodesChange(t *testing.T) {
	for _, policy := range []topology.Policy{topology.SourceHash, topology.Locality, topology.BoundedHash} {
		t.Run(string(policy), func(t *testing.T) {
			s := runningStory(t, withPolicy(policy))
			s.hear()
			if got := one[setSourceHash](t, s.beat()); !slices.Contains(got.table, 1) || !slices.Contains(got.table, 2) {
				t.Error("the table does not have both nodes")
			}
			s.n.Active = 3 // loads change, the set does not
			s.beat()
			s.now = s.now.Add(calmFor)
			out := s.beat()
			one[setLoads](t, out)
			none[setSourceHash](t, out)
			s.now = s.now.Add(time.Second)
			if got := one[setSourceHash](t, s.beat()); slices.Contains(got.table, 2) {
				t.Error("the table has a silent node")
			}
		})
	}
}

func TestNoHomesAreWrittenForOtherPolicies(t *testing.T) {
	for _, policy := range []topology.Policy{topology.LeastConnection, topology.RoundRobin} {
		s := runningStory(t, withPolicy(policy))
		s.hear()
		none[setSourceHash](t, s.beat())
	}
}

func TestRulesOfServicesThatInspect(t *testing.T) {
	want := bpf.Rules{Key: "path", Low: 25, High: 65, Decay: 20 * time.Second, Bound: 1.25, Silent: 3 * time.Second, Close: true}
	for policy, want := range map[topology.Policy]bpf.Rules{
		topology.Locality: want, topology.BoundedHash: want, topology.SourceHash: {},
	} {
		v := testView()
		withPolicy(topology.Locality)(&v)
		web := v.Services["web"]
		web.Policy = policy // rules of the policy before count no more
		v.Services["web"] = web
		got, problems, ready := wantTables(v, "n1")
		if !ready || len(problems) > 0 {
			t.Fatalf("%s: ready is %t, problems are %v", policy, ready, problems)
		}
		if diff := cmp.Diff(want, got.services[0].Rules); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
}

// A node that must not be picked goes on inspecting: its slots, the rules and the homes are
// in force in its filter, and name others.
func TestWhoIsNotPickedInspectsAllTheSame(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*state.View)
	}{
		{"draining", func(v *state.View) {
			n1 := v.Nodes["n1"]
			n1.Draining = true
			v.Nodes["n1"] = n1
		}},
		{"unhealthy", func(v *state.View) {
			web := v.Services["web"]
			web.Health = state.Health{Type: topology.HealthTCP, Rise: 1, Fall: 1}
			v.Services["web"] = web
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(t)
			v := testView()
			withPolicy(topology.Locality)(&v)
			tt.edit(&v)
			tables := one[install](t, s.step(viewChanged{state.Update{View: v}})).want
			if tables.slots[0].Primary != 1 || tables.services[0].Rules.Key != "path" {
				t.Errorf("slot 0 is %+v and the service %+v, want this node as an inspector", tables.slots[0], tables.services[0])
			}
			s.step(installed{epoch: 4})
			s.now = s.now.Add(time.Second)
			s.step(checkEnded{service: "web", check: v.Services["web"].Health, failure: "connection refused"})
			s.hear()
			out := s.beat()
			if got := one[setSourceHash](t, out).table; slices.Contains(got, 1) || !slices.Contains(got, 2) {
				t.Error("the homes are this node's too, want only the other's")
			}
			if diff := cmp.Diff([]topology.NodeID{2}, listed(one[setLoads](t, out).table), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("load table (-want +got):\n%s", diff)
			}
			one[pulse](t, out) // without it the filter would wait for nobody
		})
	}
}

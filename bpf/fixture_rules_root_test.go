// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

// testRules are the defaults.
func testRules() Rules {
	return Rules{Key: "path", Low: 25, High: 65, Decay: 20 * time.Second, Bound: 1.25, Silent: 3 * time.Second}
}

// inspected is the web service under a policy that looks at its requests.
func inspected(rules Rules) Service {
	return Service{ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: webPort, Policy: topology.Locality, Rules: rules}
}

func TestFixtureRules(t *testing.T) {
	r := newRig(t)
	rules := Rules{Key: "header:x-user", Low: 2, High: 3, Decay: time.Second, Bound: 1.5, Silent: time.Millisecond, Close: true}
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	want := onevipOvRules{Silent: 1e6, Decay: 1e9, Low: 2, High: 3, Bound: 1536, Key: uint32(topology.KeyHeader), Close: 1, NameLen: 6}
	copy(want.Name[:], "x-user")
	if diff := cmp.Diff(want, r.rules(t)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	rules.Key = "path-prefix:3"
	r.check(r.f.SetServices([]Service{inspected(rules)}))
	if got := r.rules(t); got.Key != uint32(topology.KeyPathPrefix) || got.Segments != 3 || got.NameLen != 0 {
		t.Errorf("rules %+v, want those of a prefix of 3 segments", got)
	}
	r.configure(t)
	if got := r.rules(t); got != (onevipOvRules{}) {
		t.Errorf("rules %+v for a policy that has none", got)
	}
	if r.f.config.Inspects != 1 {
		t.Error("what was handed over under the policy of before would not be taken")
	}
}

func (r *rig) rules(t testing.TB) (out onevipOvRules) {
	t.Helper()
	r.check(r.f.objs.Rules.Lookup(uint32(webService), &out))
	return out
}

// Rules that make no sense change nothing.
func TestFixtureRulesRefused(t *testing.T) {
	r := newRig(t)
	for name, spoil := range map[string]func(*Rules){
		"no key":       func(r *Rules) { r.Key = "" },
		"unknown key":  func(r *Rules) { r.Key = "cookie:id" },
		"high":         func(r *Rules) { r.High = r.Low - 1 },
		"low":          func(r *Rules) { r.Low = 0 },
		"bound":        func(r *Rules) { r.Bound = 0.9 },
		"silent":       func(r *Rules) { r.Silent = 0 },
		"no decay":     func(r *Rules) { r.Decay = 0 },
		"endless name": func(r *Rules) { r.Key = "header:abcdefghijklmnopqrstuvwxyz0123456789" },
	} {
		rules := testRules()
		spoil(&rules)
		if err := r.f.SetServices([]Service{inspected(rules)}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := r.rules(t); got != (onevipOvRules{}) {
		t.Errorf("rules %+v are left", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"github.com/onevip/onevip/topology"
)

// setReplaySafe has the requests that are looked at be such as may run twice, or not.
func (r *rig) setReplaySafe(t testing.TB, safe bool) {
	t.Helper()
	s := inspected(testRules())
	s.Replay = safe
	r.check(r.f.SetServices([]Service{s}))
}

// Nobody has a connection, and so it was a failed node's, as far as a guard can see. That
// counts only when its inspector has failed, too, and then it is the inspector's.
func TestFixtureCondemnedWhileItsInspectorLives(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	for _, safe := range []bool{false, true} {
		r.setReplaySafe(t, safe)
		r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
			l := r.listen(t, in.to(webPort))
			defer l.Close()
			flows := []Flow{{in.from(), in.to(webPort)}}
			r.setFailed(t, rigThird)
			r.expect(t, in.request(0, 100), ReasonForeign)
			r.check(r.f.Condemn(flows, rigThird))
			r.expect(t, in.request(0, 100), ReasonForeign)

			r.setFailed(t, rigThird, rigOther)
			r.expect(t, in.request(0, 100), ReasonStray)
			r.check(r.f.Condemn(flows, rigOther))
			r.check(r.f.Condemn(flows, rigThird))
			want := ReasonResetYoung
			if safe {
				want = ReasonAdoptRefused
			}
			r.expect(t, in.request(0, 100), want)
			r.setFailed(t)
			r.forgetAll(t)
		})
	}
}

// What was condemned to its inspector is a living node's, if one says so after all.
func TestFixtureCondemnedAndFound(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		flows := []Flow{{in.from(), in.to(webPort)}}
		r.setFailed(t, rigOther)
		r.expect(t, in.request(0, 100), ReasonStray)
		r.check(r.f.Condemn(flows, rigOther))
		r.check(r.f.Condemn(flows, rigThird))
		r.expect(t, in.request(0, 100), ReasonForeign)
		r.setFailed(t)
		r.forgetAll(t)
	})
}

// A guard in a dead one's place was not told what that one was: its record of a client that
// has said nothing is no proof that nobody has the connection.
func TestFixtureHeirOfAnInspector(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.setReplaySafe(t, true)
	all := make([]bool, topology.SlotCount)
	for i := range all {
		all[i] = true
	}
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		l := r.listen(t, in.to(webPort))
		defer l.Close()
		r.expect(t, in.bare(), ReasonForeign)
		r.check(r.f.SetFailed([]Failed{{ID: rigOther, Acts: all, Heir: all}}))
		for _, frame := range [][]byte{in.bare(), in.request(0, 100)} {
			if got := r.send(t, frame); got.reason != ReasonStray {
				t.Errorf("reason %s, want %s", got.reason, ReasonStray)
			}
		}
		r.check(r.f.Condemn([]Flow{{in.from(), in.to(webPort)}}, rigOther))
		r.expect(t, in.request(0, 100), ReasonResetYoung)
		r.setFailed(t)
		r.forgetAll(t)
	})
}

// An inspector that acts for whom it gave a connection to knows whose that was, whatever else
// it has seen of it.
func TestFixtureInspectorActsForItsOwner(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigSelf, rigThird)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		r.clearTraces(t)
		r.setFailed(t, rigOther)
		r.expect(t, in.request(100, 100), ReasonStray)
		r.expect(t, in.request(0, 100), ReasonResetYoung)
		r.setFailed(t)
		r.forgetAll(t)
	})
}

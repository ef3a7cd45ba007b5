// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// recordOf is what the guard knows of the connection.
func (r *rig) recordOf(t testing.TB, in inspection) Guarded {
	t.Helper()
	flow := Flow{in.from(), in.to(webPort)}
	other := flow
	other.Client = in.to(webPort)
	all, err := r.f.GuardedFlows([]Flow{other, flow})
	if r.check(err); len(all) != 1 {
		t.Fatalf("records are %+v, want one", all)
	}
	return all[flow]
}

// While another node is down, a client that has asked for nothing keeps its connection
// alive, with or without the byte that a probe may have: that is no data, and an agent
// sees so. An owner that was heard is known to be there, told or not.
func TestFixtureKeptAliveBeforeTheRequest(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.setFailed(t, rigThird)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonForeign)
		for n := range 2 {
			r.expect(t, in.with(-1, n, func(*layers.TCP) {}), ReasonStray)
			if g := r.recordOf(t, in); g.Data || g.Inspector != rigOther || g.Owner != topology.Undecided {
				t.Errorf("after a probe with %d bytes: %+v", n, g)
			}
		}
		r.expect(t, in.request(0, 100), ReasonForeign)
		if g := r.recordOf(t, in); !g.Data {
			t.Errorf("after the request: %+v", g)
		}
		r.forgetAll(t)

		r.expect(t, in.bare(), ReasonForeign)
		r.expect(t, in.with(0, 0, func(tcp *layers.TCP) { tcp.Ack += 10 }), ReasonStray)
		if g := r.recordOf(t, in); !g.Data {
			t.Errorf("its owner said something: %+v", g)
		}
		r.forgetAll(t)
	})
}

// The first segment is lost, and the second is here before it comes again: the guard that
// acts for another node leaves that to the inspector, even if that is the guard itself.
func TestFixtureFirstOfTwoIsLost(t *testing.T) {
	r := newInspecting(t)
	r.setRoles(t, rigThird, rigSelf)
	r.setFailed(t, rigThird)
	r.eachInspection(t, rigOther, func(t *testing.T, in inspection) {
		r.expect(t, in.bare(), ReasonForeign)
		r.expect(t, in.request(100, 50), ReasonStray) // the agent asks, and finds out who inspects
		if g := r.recordOf(t, in); !g.Data || g.Inspector != rigOther {
			t.Errorf("record is %+v", g)
		}
		r.expect(t, in.request(0, 100), ReasonForeign)
		r.expect(t, in.told(100, rigOther, otherMAC, topology.MAC(clusterMAC)), ReasonTold)
		r.expect(t, in.request(100, 50), ReasonForeign)
		r.forgetAll(t)
	})
	r.setRoles(t, rigSelf, rigOther)
	r.eachInspection(t, rigSelf, func(t *testing.T, in inspection) {
		r.greet(t, in)
		r.expect(t, in.bare(), ReasonUndecided)
		if got := r.send(t, in.request(100, 50)); got.reason == ReasonStray {
			t.Errorf("the second segment is %s", got.reason)
		}
		r.expect(t, in.request(0, 100), ReasonHandedOver)
		r.forgetAll(t)
	})
	r.setFailed(t)
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"testing"
	"time"
)

// A silent client's inspector is its slot's secondary, and gives it to a third node, whose
// guard it is itself: it tells its own, which leaves the client to that node later.
func TestASecondaryInspectsAndDies(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		primary, inspector, owner := c.nodes[0], c.nodes[1], c.nodes[2]
		rules := testRules()
		rules.Silent = 100 * time.Millisecond
		inspector.check(inspector.filter.SetServices([]Service{inspected(rules)}))
		inspector.check(inspector.filter.SetLoads(webService, []Load{{Node: owner.id, Weight: 64}}))
		c.setRoles(Slot{Primary: inspector.id, Secondary: primary.id})
		sa := r.syn()
		c.setRoles(Slot{Primary: primary.id, Secondary: inspector.id}) // as if it had speculated
		r.send(r.bare(sa))
		waitFor(t, "the SYN/ACK is due again", func() bool { return len(inspector.unheard(0)) == 1 })
		r.send(r.bare(sa))
		c.waitActive(1)
		c.waitGuarded(primary, r, func(g Guarded) bool { return g.Owner == owner.id && g.Inspector == inspector.id })

		c.deafen(inspector, true)
		defer c.deafen(inspector, false)
		c.failAt(primary, inspector)
		defer c.failAt(primary)
		r.send(r.request(sa, get))
		c.expectAnswer(r, owner)
		c.expectAdoptedOnce()
	})
}

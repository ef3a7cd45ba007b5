// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"reflect"
	"slices"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// report publishes the agent's record if it differs from the one published
// last. How many connections there are counts as a difference only when numbers
// are due, once a second: every write wakes all who watch the store.
func (c *core) report(numbers bool) []action {
	r := c.record()
	if reflect.DeepEqual(r, c.published) {
		return nil
	}
	if !numbers && reflect.DeepEqual(withoutNumbers(r), withoutNumbers(c.published)) {
		return nil
	}
	c.published = r
	return []action{publish{r}}
}

// record is what the agent says of its node now.
func (c *core) record() state.Agent {
	r := c.about
	r.SlotEpoch, r.Cleared = c.epoch, c.fall.cleared
	r.Warnings = c.warnings.all(c.fall.warning())
	r.Suspects = c.suspicions()
	r.Violations, r.Seen = c.violations.all(), c.seen
	r.Services = map[topology.ServiceName]state.AgentHealth{}
	for name, h := range c.health {
		n := c.counts[c.view.Services[name].ID]
		adopted := uint64(0)
		for _, total := range n.Adopted {
			adopted += total
		}
		r.Services[name] = state.AgentHealth{Healthy: h.healthy, Reason: h.reason, Active: n.Active, Adopted: adopted}
	}
	return r
}

// withoutNumbers is a copy of r without the counts of connections and requests.
func withoutNumbers(r state.Agent) state.Agent {
	services := map[topology.ServiceName]state.AgentHealth{}
	for name, h := range r.Services {
		services[name] = state.AgentHealth{Healthy: h.Healthy, Reason: h.Reason}
	}
	r.Services, r.Seen = services, nil
	return r
}

// all gives the warnings and more in a steady order, each once; nil if there are
// none.
func (w warnings) all(more []string) []string {
	out := slices.Concat(w.survey, w.state, w.install, more)
	slices.Sort(out)
	return slices.Compact(out)
}

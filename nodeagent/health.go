// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// health is what this node holds of its own server for one service.
type health struct {
	checked bool // at least one check has ended
	healthy bool
	reason  string // why not healthy, in words
	streak  int    // results in a row that speak against healthy
}

const notChecked = "not yet checked"

// newHealth is the health before any check.
func newHealth(check state.Health) health {
	if check.Type == topology.HealthNone {
		return health{checked: true, healthy: true}
	}
	return health{reason: notChecked}
}

// observe takes one check's result; failure is in words, empty for success.
// The first result decides at once; later Rise good or Fall bad ones in a row
// are needed to change the verdict. It tells whether the verdict changed.
func (h *health) observe(failure string, check state.Health) (changed bool) {
	good := failure == ""
	if !h.checked {
		h.checked, h.healthy, h.reason = true, good, failure
		return true
	}
	if !h.healthy && !good {
		h.reason = failure
	}
	if good == h.healthy {
		h.streak = 0
		return false
	}
	h.streak++
	if h.streak < max(1, h.needed(check)) {
		return false
	}
	*h = health{checked: true, healthy: good, reason: failure}
	return true
}

// needed is the number of results in a row that change the verdict.
func (h *health) needed(check state.Health) int {
	if h.healthy {
		return check.Fall
	}
	return check.Rise
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

// drift watches whether a service's running count of active connections went
// astray. A dump takes time, so the count is read before and after it.
type drift struct{ above, below int }

// driftLimit is the number of dumps in a row that must say the same.
const driftLimit = 3

// judge tells whether the count must be set to what the dump shows.
func (d *drift) judge(before, after, dumped uint32) bool {
	switch {
	case dumped > max(before, after):
		d.above, d.below = d.above+1, 0
	case dumped < min(before, after):
		d.above, d.below = 0, d.below+1
	default:
		*d = drift{}
	}
	if d.above < driftLimit && d.below < driftLimit {
		return false
	}
	*d = drift{}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"maps"
	"slices"
)

// violations are what the programs saw of the design's invariants being broken. The
// counts outlive agents: what an earlier one found is told of, but not complained of.
type violations struct {
	counts  map[string]uint64 // nil: not read yet; those above 0
	growing map[string]bool   // since the last reading: said already
}

// take compares a reading with the one before, and says once when one grows. nil is no
// reading.
func (v *violations) take(read map[string]uint64) (out []action) {
	if read == nil {
		return nil
	}
	growing := map[string]bool{}
	for _, invariant := range slices.Sorted(maps.Keys(read)) {
		n := read[invariant]
		if v.counts == nil || n <= v.counts[invariant] {
			continue
		}
		growing[invariant] = true
		if !v.growing[invariant] {
			out = append(out, say{slog.LevelError, "an invariant was violated, which must never be: look at onevip events, and report it", []any{"invariant", invariant, "times", n}})
		}
	}
	v.counts, v.growing = maps.Clone(read), growing
	maps.DeleteFunc(v.counts, func(_ string, n uint64) bool { return n == 0 })
	return out
}

// violations reads the filter's counts; nil if there are none to read.
func (a *agent) violations() map[string]uint64 {
	if a.installer.filter == nil {
		return nil
	}
	read, err := a.installer.filter.Violations()
	if err != nil {
		return nil // the scrape of the metrics says so
	}
	return read
}

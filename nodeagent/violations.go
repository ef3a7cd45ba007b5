// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
)

// epochRegression is the violation that the agent itself sees, and not the programs: the
// epoch of the slot table fell. A store restored from an old copy gives epochs out once
// more, to other tables.
const epochRegression = "epoch_regression"

// violations are what was seen of the design's invariants being broken. The programs'
// counts outlive agents: what an earlier one found is told of, but not complained of.
type violations struct {
	counts  map[string]uint64 // of the programs; nil: not read yet; those above 0
	growing map[string]bool   // since the last reading: said already

	created     time.Time // of the cluster whose slots were followed last
	epoch       uint64    // of those; 0: none yet
	regressions uint64    // how often it fell, since this agent began
}

// follow looks at the epoch of a View's slots. That it falls is said and counted, and
// obeyed none the less: the others will. Another cluster's begins anew; 0 is that no
// slots are known.
func (v *violations) follow(created time.Time, epoch uint64) []action {
	if epoch == 0 {
		return nil
	}
	before, same := v.epoch, v.created.Equal(created)
	v.created, v.epoch = created, epoch
	if !same || epoch >= before {
		return nil
	}
	v.regressions++
	return []action{countRegression{}, say{slog.LevelError, "an invariant was violated, which must never be: the epoch of the slot table fell; was etcd restored from an old copy?",
		[]any{"invariant", epochRegression, "from", before, "to", epoch}}}
}

// all is what the record says; nil: there were none.
func (v *violations) all() map[string]uint64 {
	if v.regressions == 0 {
		return v.counts
	}
	out := map[string]uint64{epochRegression: v.regressions}
	maps.Copy(out, v.counts)
	return out
}

// take compares a reading with the one before, and says once when one grows. nil is no
// reading.
func (v *violations) take(read map[string]bpf.Violation) (out []action) {
	if read == nil {
		return nil
	}
	growing, counts := map[string]bool{}, map[string]uint64{}
	for _, invariant := range slices.Sorted(maps.Keys(read)) {
		n := read[invariant].Times
		if n > 0 {
			counts[invariant] = n
		}
		if v.counts == nil || n <= v.counts[invariant] {
			continue
		}
		growing[invariant] = true
		if !v.growing[invariant] {
			out = append(out, say{slog.LevelError, "an invariant was violated, which must never be: look at onevip events, and report it", []any{"invariant", invariant, "times", n, "last", read[invariant].Last.String()}})
		}
	}
	v.counts, v.growing = counts, growing
	return out
}

// violations reads the filter's counts; nil if there are none to read.
func (a *agent) violations() map[string]bpf.Violation {
	if a.installer.filter == nil {
		return nil
	}
	read, err := a.installer.filter.Violations()
	if err != nil {
		return nil // the scrape of the metrics says so
	}
	return read
}

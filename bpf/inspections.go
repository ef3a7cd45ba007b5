// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"github.com/onevip/onevip/topology"
)

// outcomes are the names of enum outcome of src/locality.h, in its order; fallbacks
// those of enum fallback of src/fallback.h. Tests compare them, and with package
// scheduler, which says what they mean.
var (
	outcomes  = []string{"hit", "moved", "grown", "shrunk", "spilled"}
	fallbacks = []string{"inspected", "short", "too_long", "no_key", "not_http", "not_tls", "silent"}
)

// outcomeFallback is OUTCOME_FALLBACK in types.h.
const outcomeFallback = 8

// Inspections is how many connections to a service found their owner how, since the
// programs were loaded, as far as this node was their inspector.
type Inspections struct {
	// Outcomes is of those whose request had a key, by scheduler.Outcome's names.
	Outcomes map[string]uint64
	// Fallbacks is of the others, which went by least connection, by the names of
	// scheduler.Fallback.
	Fallbacks map[string]uint64
}

// Inspections reads them for one service. All names are there, also those with 0.
func (f *Filter) Inspections(service topology.ServiceID) (Inspections, error) {
	out := Inspections{Outcomes: map[string]uint64{}, Fallbacks: map[string]uint64{}}
	first := uint32(service) * outcomeRoom
	for i, name := range outcomes {
		if err := f.inspected(first+uint32(i), name, out.Outcomes); err != nil {
			return out, err
		}
	}
	for i, name := range fallbacks[1:] {
		if err := f.inspected(first+outcomeFallback+1+uint32(i), name, out.Fallbacks); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (f *Filter) inspected(key uint32, name string, into map[string]uint64) error {
	var perCPU []uint64
	if err := f.objs.Inspected.Lookup(key, &perCPU); err != nil {
		return fmt.Errorf("read the count of %s: %w", name, err)
	}
	into[name] = 0
	for _, n := range perCPU {
		into[name] += n
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/onevip/onevip/topology"
)

// localityBuckets is LOCALITY_BUCKETS in types.h.
const localityBuckets = 4096

// outcomeRoom is OUTCOME_ROOM in types.h.
const outcomeRoom = 32

// boundUnit is what Rules.Bound is a multiple of in the map.
const boundUnit = 1024

// entry is how the map has the rules.
func (r Rules) entry() (onevipOvRules, error) {
	kind, segments, name := r.Key.Parse()
	var out onevipOvRules
	switch {
	case kind == 0:
		return out, fmt.Errorf("key %q: not one that the filter knows", r.Key)
	case len(name) > len(out.Name):
		return out, fmt.Errorf("header %q: longer than %d bytes", name, len(out.Name))
	case r.Low == 0 || r.High < r.Low:
		return out, fmt.Errorf("thresholds %d and %d: want 0 < low <= high", r.Low, r.High)
	case !(r.Bound >= 1) || r.Bound > math.MaxUint32/boundUnit:
		return out, fmt.Errorf("bound %v: want at least 1", r.Bound)
	case r.Silent <= 0 || r.Decay <= 0:
		return out, fmt.Errorf("silent after %s, decay %s: want more than 0", r.Silent, r.Decay)
	}
	out.Silent, out.Decay = uint64(r.Silent), uint64(r.Decay)
	out.Low, out.High = r.Low, r.High
	out.Bound = uint32(math.Round(r.Bound * boundUnit))
	out.Key, out.Segments = uint32(kind), uint32(segments)
	out.Close = flag(r.Close)
	out.NameLen = uint32(copy(out.Name[:], name))
	return out, nil
}

// setRules writes the rules of all services, or none if those of one make no sense.
func (f *Filter) setRules(services []Service) error {
	entries := map[uint32]onevipOvRules{}
	for _, s := range services {
		if !s.Policy.Inspects() {
			entries[uint32(s.ID)] = onevipOvRules{}
			continue
		}
		entry, err := s.Rules.entry()
		if err != nil {
			return fmt.Errorf("service id %d: %w", s.ID, err)
		}
		entries[uint32(s.ID)] = entry
	}
	for id, entry := range entries {
		if err := f.putRules(id, &entry); err != nil {
			return err
		}
	}
	return nil
}

// putRules empties the buckets where other keys go into them from now on.
func (f *Filter) putRules(id uint32, entry *onevipOvRules) error {
	var old onevipOvRules
	if err := f.objs.Rules.Lookup(id, &old); err != nil {
		return fmt.Errorf("read the rules of service %d: %w", id, err)
	}
	if old.Key != 0 && (old.Key != entry.Key || old.Segments != entry.Segments || old.Name != entry.Name) {
		if err := errors.Join(f.forgetBuckets(topology.ServiceID(id)), f.forgetSamples(id)); err != nil {
			return err
		}
	}
	if err := f.objs.Rules.Put(id, entry); err != nil {
		return fmt.Errorf("write the rules of service %d: %w", id, err)
	}
	return nil
}

// dropRules is for services that are gone: another may get the id.
func (f *Filter) dropRules(services []Service) error {
	for id := range f.objs.Rules.MaxEntries() {
		if slices.ContainsFunc(services, func(s Service) bool { return uint32(s.ID) == id }) {
			continue
		}
		if err := f.putRules(id, &onevipOvRules{}); err != nil {
			return err
		}
	}
	return nil
}

// noteInspection has the programs look, from now on, whether a segment was handed over
// to this node. It stays so: what others hand over under a policy of before may still
// come. The caller holds f.mu.
func (f *Filter) noteInspection(services map[onevipOvServiceKey]onevipOvService) {
	for _, svc := range services {
		if inspects(svc.Policy) {
			f.config.Inspects = 1
		}
	}
}

// inspects is inspects() of src/service.h.
func inspects(policy uint32) bool { return policy == policyLocality || policy == policyBoundedHash }

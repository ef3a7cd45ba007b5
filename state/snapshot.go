// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"maps"
	"slices"

	"github.com/onevip/onevip/topology"
)

// item is one key as a store holds it.
type item struct {
	key     string
	value   []byte // nil: deleted
	created int64  // revision that created the key
}

// snapshot is the content of a store, decoded, from which Views are made.
// Connections do not get in. It is for one goroutine.
type snapshot struct {
	records  map[Key]any
	problems map[string]string // by key; the record of such a key is the last good one
	// sets is what Views share as View.Locality: of many records, that change less
	// often than the rest. nil: made anew for the next View.
	sets map[topology.ServiceName]map[int]Locality
}

func newSnapshot() *snapshot {
	return &snapshot{records: map[Key]any{}, problems: map[string]string{}}
}

// apply takes one change in. A record that cannot be read becomes a problem
// and leaves the last good one in place.
func (s *snapshot) apply(it item) {
	delete(s.problems, it.key)
	key, err := ParseKey(it.key)
	if err != nil {
		s.foreign(it, err)
		return
	}
	if key.Kind == KindLocality {
		s.sets = nil
	}
	if it.value == nil {
		delete(s.records, key)
		return
	}
	record, err := decode(key, it.value)
	if err != nil {
		s.problems[it.key] = it.key + ": " + err.Error()
		return
	}
	if candidate, ok := record.(Candidate); ok {
		candidate.Term = uint64(it.created)
		record = candidate
	}
	s.records[key] = record
}

// foreign notes a key that this version does not know.
func (s *snapshot) foreign(it item, err error) {
	if it.value != nil {
		s.problems[it.key] = err.Error()
	}
}

// replace takes the whole content in: what is not among items is gone.
func (s *snapshot) replace(items []item) {
	old := s.records
	s.records, s.problems, s.sets = map[Key]any{}, map[string]string{}, nil
	for _, it := range items {
		if key, err := ParseKey(it.key); err == nil && old[key] != nil {
			s.records[key] = old[key]
		}
		s.apply(it)
	}
}

// view makes a View that later changes of the snapshot do not touch.
func (s *snapshot) view(revision int64) View {
	v := View{
		Revision: revision,
		Nodes:    map[topology.NodeName]Node{},
		Agents:   map[topology.NodeName]Agent{},
		Services: map[topology.ServiceName]Service{},
		Loads:    map[topology.ServiceName]Load{},
		Failures: map[uint64]Failure{},
		Locality: s.localities(),
		Seen:     map[topology.NodeName]map[topology.ServiceName]LocalitySeen{},
		Problems: slices.Sorted(maps.Values(s.problems)),
		Broken:   map[Key]bool{},
	}
	for text := range s.problems {
		if key, err := ParseKey(text); err == nil {
			key.Cluster = ""
			v.Broken[key] = true
		}
	}
	for _, record := range s.records {
		v.add(record)
	}
	slices.SortFunc(v.Events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return v
}

// localities gives the sets of all buckets, in maps that nobody changes any more.
func (s *snapshot) localities() map[topology.ServiceName]map[int]Locality {
	if s.sets != nil {
		return s.sets
	}
	s.sets = map[topology.ServiceName]map[int]Locality{}
	for key, record := range s.records {
		set, ok := record.(Locality)
		if !ok {
			continue
		}
		if s.sets[key.Service] == nil {
			s.sets[key.Service] = map[int]Locality{}
		}
		s.sets[key.Service][set.Bucket] = set
	}
	return s.sets
}

func (v *View) add(record any) {
	switch r := record.(type) {
	case Agent:
		v.Agents[r.Name] = r
	case Cluster:
		v.Cluster = &r
	case CookieKeys:
		v.Cookie = &r
	case Event:
		v.Events = append(v.Events, r)
	case Failure:
		v.Failures[r.Epoch] = r
	case HeartbeatKey:
		v.Heartbeat = &r
	case IDs:
		v.IDs = &r
	case Candidate:
		if v.Term == 0 || r.Term < v.Term {
			v.Leader, v.Term = r.Name, r.Term
		}
	case Load:
		v.Loads[r.Service] = r
	case LocalitySeen:
		if v.Seen[r.Node] == nil {
			v.Seen[r.Node] = map[topology.ServiceName]LocalitySeen{}
		}
		v.Seen[r.Node][r.Service] = r
	case Node:
		v.Nodes[r.Name] = r
	case Service:
		v.Services[r.Name] = r
	case Slots:
		v.Slots = &r
	}
}

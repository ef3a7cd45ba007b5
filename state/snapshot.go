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
	s.records, s.problems = map[Key]any{}, map[string]string{}
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
	case Node:
		v.Nodes[r.Name] = r
	case Service:
		v.Services[r.Name] = r
	case Slots:
		v.Slots = &r
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// seenEvery spaces what is said of the requests: everybody who watches the store is told.
const seenEvery = 5 * time.Second

// seenBook counts, since this agent began, what clients asked for where this node
// inspected it. The filter's counts are older than the agent.
type seenBook map[topology.ServiceName]*seenCount

type seenCount struct {
	id    topology.ServiceID
	since time.Time
	base  map[uint16]uint64 // requests before that
	now   []bpf.Bucket
}

// keep forgets services that are not inspected any more.
func (b seenBook) keep(v state.View) {
	maps.DeleteFunc(b, func(name topology.ServiceName, c *seenCount) bool {
		s, there := v.Services[name]
		return !there || !s.Policy.Inspects() || s.ID != c.id
	})
}

// take has what the filter counted for one service.
func (b seenBook) take(now time.Time, s state.Service, buckets []bpf.Bucket) {
	c := b[s.Name]
	if c == nil {
		c = &seenCount{id: s.ID, since: now.UTC(), base: map[uint16]uint64{}}
		b[s.Name] = c
		for _, each := range buckets {
			c.base[each.Index] = each.Requests
		}
	}
	c.now = buckets
}

// records are what the node's record says, by service. sample gives a key of a bucket.
func (b seenBook) records(sample func(topology.ServiceID, uint16) (string, error)) (out []state.LocalitySeen, err error) {
	for _, name := range slices.Sorted(maps.Keys(b)) {
		seen := b[name].record(name)
		for i := range seen.Buckets {
			each := &seen.Buckets[i]
			if each.Sample, err = sample(b[name].id, uint16(each.Bucket)); err != nil {
				return nil, err
			}
		}
		out = append(out, seen)
	}
	return out, nil
}

// record has the busiest buckets, the busiest first.
func (c *seenCount) record(name topology.ServiceName) state.LocalitySeen {
	seen := state.LocalitySeen{Schema: state.Schema, Service: name, Since: c.since}
	for _, b := range c.now {
		if b.Requests < c.base[b.Index] {
			c.base[b.Index] = 0 // the filter began anew
		}
		n := b.Requests - c.base[b.Index]
		if seen.Requests += n; n > 0 {
			seen.Buckets = append(seen.Buckets, state.SeenBucket{Bucket: int(b.Index), Requests: n})
		}
	}
	slices.SortFunc(seen.Buckets, func(a, b state.SeenBucket) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Bucket, b.Bucket))
	})
	seen.Buckets = seen.Buckets[:min(len(seen.Buckets), state.SeenBuckets)]
	return seen
}

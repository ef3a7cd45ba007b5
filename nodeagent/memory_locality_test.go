// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// memoryBuckets are a memoryFilter's buckets of all services; its mu guards them.
type memoryBuckets map[topology.ServiceID]map[uint16]bpf.Bucket

func (f *memoryFilter) Buckets(s topology.ServiceID) (out []bpf.Bucket, err error) {
	if err := f.do("read-buckets"); err != nil {
		return nil, err
	}
	f.locked(func() { out = slices.Collect(maps.Values(f.buckets[s])) })
	return out, nil
}

func (f *memoryFilter) SetBuckets(s topology.ServiceID, buckets []bpf.Bucket) error {
	if err := f.do("buckets %d", s); err != nil {
		return err
	}
	f.locked(func() {
		for _, b := range buckets {
			was := f.buckets.of(s)
			was[b.Index] = takeOver(was[b.Index], b)
		}
	})
	return nil
}

// takeOver is what bpf.Filter.SetBuckets says of one bucket.
func takeOver(was, b bpf.Bucket) bpf.Bucket {
	b.Requests = was.Requests
	if b.Changed <= was.Changed || slices.Equal(b.Nodes, was.Nodes) {
		return was
	}
	return b
}

func (m memoryBuckets) of(s topology.ServiceID) map[uint16]bpf.Bucket {
	if m[s] == nil {
		m[s] = map[uint16]bpf.Bucket{}
	}
	return m[s]
}

// setBucket is what the programs do.
func (f *memoryFilter) setBucket(s topology.ServiceID, b bpf.Bucket) {
	f.locked(func() { f.buckets.of(s)[b.Index] = b })
}

func (f *memoryFilter) Sample(_ topology.ServiceID, bucket uint16) (string, error) {
	return fmt.Sprint("/", bucket), nil
}

func (f *memoryFilter) Inspections(topology.ServiceID) (bpf.Inspections, error) {
	return bpf.Inspections{Outcomes: map[string]uint64{"hit": 7}, Fallbacks: map[string]uint64{"short": 2}}, nil
}

// nodesOf gives the set of a bucket.
func (f *memoryFilter) nodesOf(s topology.ServiceID, bucket uint16) (out []topology.NodeID) {
	f.locked(func() { out = f.buckets[s][bucket].Nodes })
	return out
}

// monotonic is the clock of all memoryFilters in a bubble: it began an hour before that.
func monotonic() (time.Duration, error) {
	return time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) + time.Hour, nil
}

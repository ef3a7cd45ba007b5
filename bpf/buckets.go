// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// Bucket is what policy locality keeps of the keys that hash to one number.
type Bucket struct {
	// Index is the low 12 bits of the hash.
	Index uint16
	// Nodes is who serves it, at most 8; none: its home in the source-hash table.
	Nodes []topology.NodeID
	// Changed is when Nodes last did, here or on another node, on the clock of Now.
	Changed time.Duration
	// Requests is how many this node has sent somewhere since the programs were
	// loaded. SetBuckets leaves it as it is.
	Requests uint64
}

// Buckets reads the buckets of a service that were ever asked for or changed. One
// whose set was given up has no nodes, and a time.
//
// A set that a program changes meanwhile may come with the time of before, never an
// old set with a new time: the next reading has both.
func (f *Filter) Buckets(service topology.ServiceID) ([]Bucket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := f.buckets(service)
	if err != nil {
		return nil, err
	}
	var out []Bucket
	for i := range entries {
		b := &entries[i]
		changed, nodes := atomic.LoadUint64(&b.Changed), atomic.LoadUint64(&b.Nodes)
		requests := atomic.LoadUint64(&b.Requests)
		if changed|nodes|requests == 0 {
			continue
		}
		out = append(out, Bucket{uint16(i), unpackNodes(nodes), time.Duration(changed), requests})
	}
	return out, nil
}

// SetBuckets takes over what other nodes have changed: of each bucket the set, if it is
// another one, and its Changed is later than what is here. What the programs change
// meanwhile stays, being newer: sets and times are compared and swapped, as they do.
// One race is left: if a program has just swapped a set and not yet written its time,
// that change may be lost; it makes it again if it is still needed.
func (f *Filter) SetBuckets(service topology.ServiceID, buckets []Bucket) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := f.buckets(service)
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if int(b.Index) >= len(entries) {
			return fmt.Errorf("bucket %d of service %d: want 0..%d", b.Index, service, len(entries)-1)
		}
		nodes, err := packNodes(b.Nodes)
		if err != nil {
			return fmt.Errorf("bucket %d of service %d: %w", b.Index, service, err)
		}
		takeOver(&entries[b.Index], nodes, uint64(b.Changed))
	}
	return nil
}

// takeOver is one bucket of SetBuckets.
func takeOver(b *onevipOvBucket, nodes, changed uint64) {
	was, old := atomic.LoadUint64(&b.Changed), atomic.LoadUint64(&b.Nodes)
	if changed <= was || nodes == old || !atomic.CompareAndSwapUint64(&b.Nodes, old, nodes) {
		return
	}
	atomic.CompareAndSwapUint64(&b.Changed, was, changed) // if not, it was changed again, later
}

// forgetBuckets empties the sets of a service: keys of another kind, or of another
// service with its id, are in other buckets.
func (f *Filter) forgetBuckets(service topology.ServiceID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := f.buckets(service)
	if err != nil {
		return err
	}
	for i := range entries {
		atomic.StoreUint64(&entries[i].Nodes, 0)
		atomic.StoreUint64(&entries[i].Changed, 0)
		atomic.StoreUint64(&entries[i].Requests, 0)
	}
	return nil
}

// buckets is those of one service, in the memory that the programs change too. The
// caller holds f.mu as long as it uses them.
func (f *Filter) buckets(service topology.ServiceID) ([]onevipOvBucket, error) {
	if f.localities == nil {
		size := int(f.objs.Localities.MaxEntries()) * int(unsafe.Sizeof(onevipOvBucket{}))
		raw, err := unix.Mmap(f.objs.Localities.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map the memory of localities: %w", err)
		}
		f.localities = raw
	}
	all := unsafe.Slice((*onevipOvBucket)(unsafe.Pointer(&f.localities[0])), f.objs.Localities.MaxEntries())
	first := int(service) * localityBuckets
	if first+localityBuckets > len(all) {
		return nil, fmt.Errorf("service id %d: the maps hold %d services", service, len(all)/localityBuckets)
	}
	return all[first : first+localityBuckets], nil
}

// packNodes is how a word has a set: the first in the lowest byte, no gap.
func packNodes(nodes []topology.NodeID) (word uint64, err error) {
	if len(nodes) > 8 {
		return 0, fmt.Errorf("%d nodes: a set has at most 8", len(nodes))
	}
	var has [256]bool
	for i, id := range nodes {
		if !id.Valid() || has[id] {
			return 0, fmt.Errorf("node %d: want 1..%d, each once", id, topology.MaxNodeID)
		}
		has[id] = true
		word |= uint64(id) << (8 * i)
	}
	return word, nil
}

func unpackNodes(word uint64) (nodes []topology.NodeID) {
	for ; word != 0; word >>= 8 {
		nodes = append(nodes, topology.NodeID(word&0xff))
	}
	return nodes
}

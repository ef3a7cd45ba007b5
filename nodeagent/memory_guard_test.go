// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// memoryGuard is the part of a memoryFilter that a guard uses.
type memoryGuard struct {
	failed  []bpf.Failed
	records map[bpf.Flow]bpf.Guarded
	sockets map[bpf.Flow]bool // that this node would say it has
	tally   map[string]bpf.Violation
}

func (f *memoryFilter) SetFailed(failed []bpf.Failed) error {
	f.locked(func() { f.guard.failed = failed })
	ids := []topology.NodeID{}
	for _, each := range failed {
		ids = append(ids, each.ID)
	}
	if len(ids) == 0 {
		return nil // said by a guard that begins, beside what its agent does
	}
	return f.do("failed %v", ids)
}

func (f *memoryFilter) Guarded(owners ...topology.NodeID) (out []bpf.Guarded, err error) {
	f.locked(func() {
		for _, r := range f.guard.records {
			if slices.Contains(owners, r.Owner) {
				out = append(out, r)
			}
		}
	})
	slices.SortFunc(out, func(a, b bpf.Guarded) int { return a.Flow.Client.Compare(b.Flow.Client) })
	return out, nil
}

func (f *memoryFilter) GuardedFlows(flows []bpf.Flow) (map[bpf.Flow]bpf.Guarded, error) {
	out := map[bpf.Flow]bpf.Guarded{}
	f.locked(func() {
		for _, flow := range flows {
			if r, is := f.guard.records[flow]; is {
				out[flow] = r
			}
		}
	})
	return out, nil
}

func (f *memoryFilter) Condemn(flows []bpf.Flow, owner topology.NodeID) error {
	f.locked(func() {
		for _, flow := range flows {
			r := f.guard.records[flow]
			r.Flow, r.Owner = flow, owner
			f.guard.records[flow] = r
		}
	})
	return f.do("condemn %v %d", flows, owner)
}

// here is what the kernel says of this node's own sockets.
func (f *memoryFilter) here(flows []bpf.Flow) (map[bpf.Flow]bool, error) {
	out := map[bpf.Flow]bool{}
	f.locked(func() {
		for _, flow := range flows {
			if f.guard.sockets[flow] {
				out[flow] = true
			}
		}
	})
	return out, f.do("here %d", len(flows))
}

// route gives the packet to all, in a frame to nobody in particular.
func (w *memoryWire) route(packet []byte, _ netip.Addr) error {
	frame := frameOf(everybody, make([]byte, 6), packet)
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	return w.send(frame)
}

func (f *memoryFilter) Violations() (out map[string]bpf.Violation, err error) {
	f.locked(func() { out = maps.Clone(f.guard.tally) })
	return out, nil
}

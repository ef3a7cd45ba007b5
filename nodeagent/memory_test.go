// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// callLog keeps what was done to a node's kernel, in order.
type callLog struct {
	mu    sync.Mutex
	calls []string
	fails map[string]error // by the first word of a call
}

func (l *callLog) do(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	var word string
	_, _ = fmt.Sscan(call, &word)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fails[word]; err != nil {
		return err
	}
	l.calls = append(l.calls, call)
	return nil
}

func (l *callLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.calls
	l.calls = nil
	return out
}

func (l *callLog) fail(word string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails == nil {
		l.fails = map[string]error{}
	}
	l.fails[word] = err
}

// memoryFilter is a filter whose tables are Go values.
type memoryFilter struct {
	*callLog
	mu      sync.Mutex // guards all below
	loads   map[topology.ServiceID][]bpf.Load
	hashes  map[topology.ServiceID][]topology.NodeID
	slots   []bpf.Slot
	counts  map[topology.ServiceID]bpf.Counts
	id      topology.NodeID // as SetSelf said
	guard   memoryGuard
	buckets memoryBuckets
	closed  bool
	failureTables
}

var _ filter = (*memoryFilter)(nil)

func newMemoryFilter(log *callLog) *memoryFilter {
	return &memoryFilter{callLog: log, failureTables: newFailureTables(), loads: map[topology.ServiceID][]bpf.Load{},
		hashes: map[topology.ServiceID][]topology.NodeID{}, counts: map[topology.ServiceID]bpf.Counts{}, buckets: memoryBuckets{},
		guard: memoryGuard{records: map[bpf.Flow]bpf.Guarded{}, sockets: map[bpf.Flow]bool{}, tally: map[string]bpf.Violation{}}}
}

func (f *memoryFilter) locked(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *memoryFilter) SetSelf(s bpf.Self) error {
	f.locked(func() { f.id = s.ID })
	return f.do("self %d scale %d", s.ID, s.WindowScale)
}

func (f *memoryFilter) self() (id topology.NodeID) {
	f.locked(func() { id = f.id })
	return id
}

func (f *memoryFilter) SetServices(services []bpf.Service) error {
	ids := []topology.ServiceID{}
	for _, s := range services {
		ids = append(ids, s.ID)
	}
	return f.do("services %v", ids)
}

func (f *memoryFilter) SetSlots(slots []bpf.Slot) error {
	f.locked(func() { f.slots = slots })
	return f.do("slots %d", len(slots))
}

func (f *memoryFilter) SetCookieKeys(k bpf.CookieKeys) error { return f.do("cookies %d", k.Epoch) }

func (f *memoryFilter) SetMembers(m map[topology.NodeID]topology.MAC) error {
	return f.do("members %v", slices.Sorted(maps.Keys(m)))
}

func (f *memoryFilter) SetLoads(s topology.ServiceID, table []bpf.Load) error {
	if err := f.do("loads %d %v", s, listed(table)); err != nil {
		return err
	}
	f.locked(func() { f.loads[s] = table })
	return nil
}

func (f *memoryFilter) SetSourceHash(s topology.ServiceID, table []topology.NodeID) error {
	f.locked(func() { f.hashes[s] = table })
	return f.do("hash %d", s)
}

func (f *memoryFilter) SetActive(s topology.ServiceID, n uint32) error {
	f.locked(func() {
		c := f.counts[s]
		c.Active = n
		f.counts[s] = c
	})
	return f.do("active %d %d", s, n)
}

func (f *memoryFilter) Counts(s topology.ServiceID) (c bpf.Counts, err error) {
	f.locked(func() { c = f.counts[s] })
	return c, nil
}

func (f *memoryFilter) Reasons() (map[string]uint64, error) {
	return map[string]uint64{"foreign": 3}, nil
}

func (f *memoryFilter) Close() error {
	f.locked(func() { f.closed = true })
	return nil
}

// listedFor tells who is in the load table of a service.
func (f *memoryFilter) listedFor(s topology.ServiceID) (out []topology.NodeID) {
	f.locked(func() { out = listed(f.loads[s]) })
	return out
}

// memoryHost notes what is asked of it.
type memoryHost struct{ *callLog }

var _ host = memoryHost{}

func (h memoryHost) prepare() error                     { return h.do("sysctls") }
func (h memoryHost) removeVIPs(keep []netip.Addr) error { return h.do("remove-vips-but %v", keep) }
func (h memoryHost) addVIPs(vips []netip.Addr) error    { return h.do("add-vips %v", vips) }

// segment joins memoryWires: what one sends the others get.
type segment struct {
	mu    sync.Mutex
	wires []*memoryWire
}

// memoryWire is one node's port on a segment.
type memoryWire struct {
	on     *segment
	frames chan []byte
	cut    bool // guarded by on.mu: nothing goes out or in
	// answer is what the node's programs answer, agent or not.
	answer func(frame []byte) []byte
}

var _ wire = (*memoryWire)(nil)

func (s *segment) plug(answer func([]byte) []byte) *memoryWire {
	w := &memoryWire{on: s, frames: make(chan []byte, 64), answer: answer}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires = append(s.wires, w)
	return w
}

func (w *memoryWire) setCut(cut bool) {
	w.on.mu.Lock()
	defer w.on.mu.Unlock()
	w.cut = cut
}

func (w *memoryWire) broadcast(payload []byte) error {
	return w.send(frameOf(everybody, make([]byte, 6), payload))
}

// send gives the frame to all: a switch would flood it, too.
func (w *memoryWire) send(frame []byte) error {
	w.on.mu.Lock()
	defer w.on.mu.Unlock()
	for _, to := range w.on.wires {
		if to == w || to.cut || w.cut {
			continue
		}
		to.put(frame)
		w.put(to.answer(frame))
	}
	return nil
}

// put is what a socket's queue does: what is too much is lost.
func (w *memoryWire) put(frame []byte) {
	if frame == nil {
		return
	}
	select {
	case w.frames <- frame:
	default:
	}
}

func (w *memoryWire) receive(ctx context.Context, take func([]byte)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case frame := <-w.frames:
			take(frame)
		}
	}
}

func (w *memoryWire) close() error { return nil }

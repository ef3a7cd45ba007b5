// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// lockedFilter counts the reads under a collector's lock.
type lockedFilter struct {
	*memoryFilter
	by    *kernelCollector
	reads int
	held  int
}

func (f *lockedFilter) look() {
	f.reads++
	if !f.by.mu.TryLock() {
		f.held++
		return
	}
	f.by.mu.Unlock()
}

func (f *lockedFilter) Guarded(owners ...topology.NodeID) ([]bpf.Guarded, error) {
	f.look()
	return f.memoryFilter.Guarded(owners...)
}

func (f *lockedFilter) Counts(s topology.ServiceID) (bpf.Counts, error) {
	f.look()
	return f.memoryFilter.Counts(s)
}

// Reading tens of thousands of records takes long: the agent's loop, which names
// services and nodes, must not wait for it.
func TestAScrapeKeepsNobodyWaiting(t *testing.T) {
	k := &kernelCollector{}
	k.setNames(testView())
	f := &lockedFilter{memoryFilter: newMemoryFilter(&callLog{}), by: k}
	k.setFilter(f)
	registry := prometheus.NewRegistry()
	registry.MustRegister(k)
	if _, err := registry.Gather(); err != nil {
		t.Fatal(err)
	}
	if f.reads != 2 || f.held != 0 {
		t.Errorf("%d of %d reads were under the lock, want none of 2", f.held, f.reads)
	}
}

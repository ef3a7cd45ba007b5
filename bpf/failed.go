// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"github.com/onevip/onevip/topology"
)

// Failed is a failed node, and what this node has to do about its connections.
type Failed struct {
	ID topology.NodeID
	// Acts tells by slot whether this node is the one that acts for it, as
	// scheduler.Guards says; its length is topology.SlotCount.
	Acts []bool
	// Heir tells by slot whether it does so in the place of a guard that is dead too: what
	// it does not know of a connection may have been all the same. nil: nowhere.
	Heir []bool
}

// SetFailed names all nodes that have failed and are fenced, in place of those named
// before. Nobody must be named whose fence is not in force: this node resets and
// adopts what was theirs from now on.
func (f *Filter) SetFailed(nodes []Failed) error {
	var table onevipOvFailed
	for _, n := range nodes {
		if !n.ID.Valid() || len(n.Acts) != topology.SlotCount {
			return fmt.Errorf("failed node %d with %d slots: want 1..%d with %d", n.ID, len(n.Acts), topology.MaxNodeID, topology.SlotCount)
		}
		for slot, acts := range n.Acts {
			if acts {
				table.Acts[n.ID][slot/8] |= 1 << (slot % 8)
				table.Acts[topology.Undecided][slot/8] |= 1 << (slot % 8)
			}
		}
		for slot, heir := range n.Heir[:min(len(n.Heir), topology.SlotCount)] {
			if heir {
				table.Heir[slot/8] |= 1 << (slot % 8)
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	next := 1 - f.config.Failed&1
	if err := f.objs.Failed.Put(next, &table); err != nil {
		return fmt.Errorf("write failed %d: %w", next, err)
	}
	f.config.Failed, f.failed = next, table
	f.setWatch()
	return f.applyConfig()
}

// Quiesce has the node stand down, since the cluster declared it failed: every
// packet for a VIP is dropped (ReasonStoodDown) until SetSelf gives the node a new
// id, whatever becomes of the agent meanwhile.
func (f *Filter) Quiesce() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.StoodDown = 1
	return f.applyConfig()
}

// StoodDown tells whether the node has stood down, in this life of the agent or an
// earlier one.
func (f *Filter) StoodDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config.StoodDown != 0
}

// Cleared is the failure epoch up to which this boot destroyed its sockets, as the
// last SetCleared said; 0: none.
func (f *Filter) Cleared() (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config.Cleared, nil
}

// SetCleared notes it beside the programs, so that it outlives the agent but not the
// boot.
func (f *Filter) SetCleared(epoch uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Cleared = epoch
	return f.applyConfig()
}

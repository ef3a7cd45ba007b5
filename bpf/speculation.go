// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"time"

	"github.com/onevip/onevip/topology"
)

// SetSpeculation tells this node what to do as secondary of a slot.
func (f *Filter) SetSpeculation(s Speculation) error {
	if s.Delay < 0 || s.Delay > time.Minute {
		return fmt.Errorf("speculation delay %s: want 0 to 1m", s.Delay)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Speculates, f.config.Delay = 1, uint64(s.Delay)
	if s.Off {
		f.config.Speculates = 0
	}
	return f.applyConfig()
}

// SetSuspected names the nodes that are said to be silent: as secondary of one of
// them this node answers at once, unless speculation is off. Whether they are
// picked is up to SetLoads.
func (f *Filter) SetSuspected(nodes []topology.NodeID) error {
	var bits [4]uint64
	for _, id := range nodes {
		if !id.Valid() {
			return fmt.Errorf("suspected node id %d: want 1..%d", id, topology.MaxNodeID)
		}
		bits[id/64] |= 1 << (id % 64)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config.Suspected = bits
	return f.applyConfig()
}

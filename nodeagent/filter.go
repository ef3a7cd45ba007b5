// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// filter is what the agent needs of the programs in the kernel: *bpf.Filter, or
// memoryFilter in tests. Its methods may be called concurrently.
type filter interface {
	SetSelf(bpf.Self) error
	SetServices([]bpf.Service) error
	SetSlots([]bpf.Slot) error
	SetCookieKeys(bpf.CookieKeys) error
	SetMembers(map[topology.NodeID]topology.MAC) error
	SetLoads(topology.ServiceID, []bpf.Load) error
	SetSourceHash(topology.ServiceID, []topology.NodeID) error
	SetActive(topology.ServiceID, uint32) error
	Question(bpf.Question) ([]byte, error)
	ParseAnswer(frame []byte) (bpf.Answer, error)
	guardFilter
	Violations() (map[string]uint64, error)
	Counts(topology.ServiceID) (bpf.Counts, error)
	Reasons() (map[string]uint64, error)
	Close() error
}

var _ filter = (*bpf.Filter)(nil)

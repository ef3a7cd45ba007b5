// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// filter is what the agent needs of the programs in the kernel: kernelFilter, or
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
	SetSpeculation(bpf.Speculation) error
	SetSuspected([]topology.NodeID) error
	Notices() (noticeReader, error)
	Unheard(now time.Duration) ([][]byte, error)
	Pulse() error
	Quiesce() error
	Cleared() (uint64, error)
	SetCleared(epoch uint64) error
	Question(bpf.Question) ([]byte, error)
	ParseAnswer(frame []byte) (bpf.Answer, error)
	guardFilter
	localityFilter
	Violations() (map[string]bpf.Violation, error)
	Counts(topology.ServiceID) (bpf.Counts, error)
	Reasons() (map[string]uint64, error)
	Inspections(topology.ServiceID) (bpf.Inspections, error)
	Close() error
}

// noticeReader gives what only the agent can do, told by the programs.
type noticeReader interface {
	// Read waits for the next notice; after Close the error is os.ErrClosed.
	Read() (bpf.Notice, error)
	// Stale is how many were left out because they came too late.
	Stale() uint64
	Close() error
}

// kernelFilter is a *bpf.Filter that gives its notices as an interface.
type kernelFilter struct{ *bpf.Filter }

var _ filter = kernelFilter{}

func (f kernelFilter) Notices() (noticeReader, error) {
	r, err := f.Filter.Notices()
	if err != nil {
		return nil, err
	}
	return r, nil
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"os"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

// failureTables are a memoryFilter's tables about failures; its mu guards them.
type failureTables struct {
	cleared uint64
	unheard [][]byte // given once
	notices memoryNotices
	pulses  int
}

// memoryNotices is a noticeReader.
type memoryNotices struct {
	next   chan bpf.Notice
	closed chan struct{}
}

func newFailureTables() failureTables {
	return failureTables{notices: memoryNotices{next: make(chan bpf.Notice), closed: make(chan struct{})}}
}

func (r memoryNotices) Read() (bpf.Notice, error) {
	select {
	case n := <-r.next:
		return n, nil
	case <-r.closed:
		return bpf.Notice{}, os.ErrClosed
	}
}

func (r memoryNotices) Stale() uint64 { return 0 }

func (r memoryNotices) Close() error {
	close(r.closed)
	return nil
}

func (f *memoryFilter) Notices() (noticeReader, error) { return f.notices, nil }

func (f *memoryFilter) SetSpeculation(s bpf.Speculation) error {
	return f.do("speculation off=%t delay=%s", s.Off, s.Delay)
}

func (f *memoryFilter) SetSuspected(nodes []topology.NodeID) error {
	return f.do("suspected %v", nodes)
}

func (f *memoryFilter) Unheard(time.Duration) (out [][]byte, err error) {
	f.locked(func() { out, f.unheard = f.unheard, nil })
	return out, nil
}

// Pulse is only counted: it comes with every heartbeat.
func (f *memoryFilter) Pulse() error {
	f.locked(func() { f.pulses++ })
	return nil
}

func (f *memoryFilter) Quiesce() error { return f.do("quiesce") }

func (f *memoryFilter) Cleared() (epoch uint64, err error) {
	f.locked(func() { epoch = f.cleared })
	return epoch, nil
}

func (f *memoryFilter) SetCleared(epoch uint64) error {
	f.locked(func() { f.cleared = epoch })
	return f.do("cleared %d", epoch)
}

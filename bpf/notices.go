// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// NoticeKind says what a Notice wants: enum notice_kind in src/notices.h.
type NoticeKind uint32

const (
	// NoticeSend asks for its frame to be sent, as it is, by the filter's interface:
	// the SYN/ACK to a SYN that the primary left unanswered.
	NoticeSend NoticeKind = 1
	// NoticeStray says that a client speaks of a connection that no node is known to
	// have, while this node acts for a failed one in its slot (SetFailed). It comes at most
	// once a second and connection. The answer is Condemn, if need be after Question.
	NoticeStray NoticeKind = 2
	// NoticeCopy asks for its frame to be sent likewise: the SYN of a client without
	// timestamps, to Owner, whom the SYN/ACK that follows names and who must have
	// seen it.
	NoticeCopy NoticeKind = 3
)

// Notice is something that only the agent can do, told by the programs.
type Notice struct {
	Kind NoticeKind
	// At is when it was written, by Now's clock.
	At   time.Duration
	Flow Flow
	// Of NoticeSend: Primary is that of the flow's slot when its SYN came, and stayed silent;
	// Owner is the node that the frame names.
	Primary, Owner topology.NodeID
	Frame          []byte
}

// maxNoticeAge: whoever waited longer has helped itself. A client sends its SYN
// again after a second, and may use the tuple for another connection by then.
const maxNoticeAge = time.Second

// NoticeReader gives the notices in their order. There must be one at most.
type NoticeReader struct {
	ring  *ringbuf.Reader
	stale atomic.Uint64
}

// Notices opens the ring of notices.
func (f *Filter) Notices() (*NoticeReader, error) {
	ring, err := ringbuf.NewReader(f.objs.Notices)
	if err != nil {
		return nil, fmt.Errorf("open the ring of notices: %w", err)
	}
	return &NoticeReader{ring: ring}, nil
}

// Read waits for the next notice. After Close it fails with os.ErrClosed. Notices
// older than a second, from before this reader or behind a slow one, are left out.
func (r *NoticeReader) Read() (Notice, error) {
	for {
		record, err := r.ring.Read()
		if err != nil {
			return Notice{}, fmt.Errorf("read the ring of notices: %w", err)
		}
		n, err := parseNotice(record.RawSample)
		if err != nil {
			return Notice{}, err
		}
		now, err := Now()
		if err != nil {
			return Notice{}, err
		}
		if now-n.At <= maxNoticeAge {
			return n, nil
		}
		r.stale.Add(1)
	}
}

// Stale is how many notices were left out because they came too late.
func (r *NoticeReader) Stale() uint64 { return r.stale.Load() }

// Close ends a Read under way.
func (r *NoticeReader) Close() error { return r.ring.Close() }

var errNoticeSize = errors.New("notice of another size: the pinned programs are of another version")

func parseNotice(raw []byte) (Notice, error) {
	var n onevipOvNotice
	if len(raw) < int(unsafe.Sizeof(n)) {
		return Notice{}, errNoticeSize
	}
	n = *(*onevipOvNotice)(unsafe.Pointer(&raw[0]))
	if int(n.Len) > len(n.Frame) {
		return Notice{}, errNoticeSize
	}
	return Notice{
		Kind: NoticeKind(n.Kind), At: time.Duration(n.At), Flow: flowOf(n.Flow),
		Primary: topology.NodeID(n.Primary), Owner: topology.NodeID(n.Owner), Frame: bytes.Clone(n.Frame[:n.Len]),
	}, nil
}

// Now is the clock of all times that the programs note: CLOCK_MONOTONIC.
func Now() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// flowOf is the flow under which the maps know a connection.
func flowOf(f onevipOvFlow) Flow {
	return Flow{
		Client: netip.AddrPortFrom(netipAddr(f.Client), networkOrder(f.ClientPort)),
		VIP:    netip.AddrPortFrom(netipAddr(f.Vip), networkOrder(f.VipPort)),
	}
}

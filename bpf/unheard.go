// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// resendAt is how long after a SYN/ACK it is sent again, as kernels do.
var resendAt = []time.Duration{1 * time.Second, 3 * time.Second, 7 * time.Second}

// unheardFor is UNHEARD_FOR in src/unheard.h.
const unheardFor = 8 * time.Second

// inspectorSendsAt is the same of an inspector, behind the time that its service gives to
// silent clients: each answer that is lost delays what is done about them.
var inspectorSendsAt = []time.Duration{0, 1 * time.Second, 2 * time.Second}

// inspectorWaits is for how long after the last of them an answer counts.
const inspectorWaits = 1 * time.Second

// resent is how often the SYN/ACK of that time was sent again. It is not kept
// with the SYN/ACK itself: to write it back there could undo what the program did
// in between.
type resent struct {
	at    uint64
	times int
}

// resendsAtOnce bounds a burst: after a flood of SYNs with false addresses there may
// be as many as the map holds. The others follow with the next call.
const resendsAtOnce = 1024

// Unheard gives the frames to send again now: SYN/ACKs that named this node 1, 3
// and 7 s ago and have led to no socket; or as its inspector Rules.Silent ago, and 1 and 2 s
// before that, and nothing was asked for. It forgets those that are done. A node that
// has stood down sends none. now is Now's; call it a few times a second, from one goroutine.
func (f *Filter) Unheard(now time.Duration) ([][]byte, error) {
	if f.StoodDown() {
		return nil, nil
	}
	var frames [][]byte
	var done []onevipOvFlow
	kept := map[onevipOvFlow]resent{}
	err := f.eachUnheard(func(key onevipOvFlow, u *onevipOvUnheard) {
		age, was := now-time.Duration(u.At), f.resent[key]
		times, keep := u.schedule()
		if age > keep {
			done = append(done, key)
			return
		}
		if was.at != u.At {
			was = resent{at: u.At}
		}
		if due := dueBy(times, age); due > was.times && len(frames) < resendsAtOnce {
			frames = append(frames, bytes.Clone(u.Frame[:min(int(u.Len), len(u.Frame))]))
			was.times = due
		}
		kept[key] = was
	})
	f.resent = kept
	return frames, errors.Join(err, f.forgetUnheard(done))
}

// eachUnheard reads many at a time: one by one, a full map were thousands of system
// calls.
func (f *Filter) eachUnheard(visit func(onevipOvFlow, *onevipOvUnheard)) error {
	keys, values := make([]onevipOvFlow, 256), make([]onevipOvUnheard, 256)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := f.objs.Unheard.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			visit(keys[i], &values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the SYN/ACKs to send again: %w", err)
		}
	}
}

// schedule is when the SYN/ACK is sent again, and until when it is kept.
func (u *onevipOvUnheard) schedule() (at []time.Duration, keep time.Duration) {
	if u.Silent == 0 {
		return resendAt, unheardFor
	}
	silent := time.Duration(u.Silent) * time.Millisecond
	for _, later := range inspectorSendsAt {
		at = append(at, silent+later)
	}
	return at, at[len(at)-1] + inspectorWaits
}

// dueBy is how often a SYN/ACK of that age should have been sent again.
func dueBy(times []time.Duration, age time.Duration) (due int) {
	for _, at := range times {
		if age >= at {
			due++
		}
	}
	return due
}

func (f *Filter) forgetUnheard(flows []onevipOvFlow) error {
	for _, key := range flows {
		if err := f.objs.Unheard.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget a SYN/ACK that was sent again: %w", err)
		}
	}
	return nil
}

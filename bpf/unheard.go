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

// resent is how often the SYN/ACK of that time was sent again. It is not kept
// with the SYN/ACK itself: to write it back there could undo what the program did
// in between.
type resent struct {
	at    uint64
	times int
}

// Unheard gives the frames to send again now: SYN/ACKs that named this node 1, 3
// and 7 s ago and have led to no socket. It forgets those that are done. A node that
// has stood down sends none. now is Now's; call it a few times a second, from one goroutine.
func (f *Filter) Unheard(now time.Duration) ([][]byte, error) {
	if f.StoodDown() {
		return nil, nil
	}
	var key onevipOvFlow
	var u onevipOvUnheard
	var frames [][]byte
	var done []onevipOvFlow
	kept := map[onevipOvFlow]resent{}
	it := f.objs.Unheard.Iterate()
	for it.Next(&key, &u) {
		age := now - time.Duration(u.At)
		if age > unheardFor {
			done = append(done, key)
			continue
		}
		due := dueBy(age)
		if due == 0 {
			continue
		}
		if was := f.resent[key]; was.at != u.At || was.times < due {
			frames = append(frames, bytes.Clone(u.Frame[:min(int(u.Len), len(u.Frame))]))
		}
		kept[key] = resent{at: u.At, times: due}
	}
	f.resent = kept
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return frames, fmt.Errorf("read the SYN/ACKs to send again: %w", err)
	}
	return frames, f.forgetUnheard(done)
}

// dueBy is how often a SYN/ACK of that age should have been sent again.
func dueBy(age time.Duration) (times int) {
	for _, at := range resendAt {
		if age >= at {
			times++
		}
	}
	return times
}

func (f *Filter) forgetUnheard(flows []onevipOvFlow) error {
	for _, key := range flows {
		if err := f.objs.Unheard.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget a SYN/ACK that was sent again: %w", err)
		}
	}
	return nil
}

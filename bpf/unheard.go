// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
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

// resends is what is known between two looks at the map.
type resends struct {
	sent, kept map[onevipOvFlow]resent // kept is empty between looks
	keys       []onevipOvFlow          // what is read at a time
	values     []onevipOvUnheard
	looked     time.Duration // when last
	due        time.Duration // when the first is to be sent or forgotten, of those there were
}

// setSoonest notes how soon after they come entries of these services are due.
func (f *Filter) setSoonest(services []Service) {
	soonest := resendAt[0]
	for _, s := range services {
		if s.Policy.Inspects() {
			soonest = min(soonest, s.Rules.Silent)
		}
	}
	f.silent.Store(int64(soonest))
}

// isDue tells whether anything may be: of what there was at the last look, or came since.
// A time before that look is of another clock.
func (f *Filter) isDue(now time.Duration) bool {
	r := &f.again
	return now < r.looked || now >= r.due || now >= r.looked+time.Duration(f.silent.Load())
}

// Unheard gives the frames to send again now: SYN/ACKs that named this node 1, 3
// and 7 s ago and have led to no socket; or that named it as inspector, to clients who have
// been connected for Rules.Silent, or for 1 or 2 s longer, and asked for nothing. It forgets
// those that are done. A node that has stood down sends none. now is Now's; call it a few
// times a second, or more often: it looks at them only when any may be due. From one
// goroutine.
func (f *Filter) Unheard(now time.Duration) ([][]byte, error) {
	if f.StoodDown() || !f.isDue(now) {
		return nil, nil
	}
	var frames [][]byte
	var done []onevipOvFlow
	r := &f.again
	r.begin(now)
	err := f.eachUnheard(func(key onevipOvFlow, u *onevipOvUnheard) {
		age, was := now-time.Duration(u.At), r.sent[key]
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
		r.kept[key] = was
		r.due = min(r.due, time.Duration(u.At)+nextDue(times, keep, was.times))
	})
	r.end(err)
	return frames, errors.Join(err, f.forgetUnheard(done))
}

func (r *resends) begin(now time.Duration) {
	if r.sent == nil {
		r.sent, r.kept = map[onevipOvFlow]resent{}, map[onevipOvFlow]resent{}
		r.keys, r.values = make([]onevipOvFlow, unheardBatch), make([]onevipOvUnheard, unheardBatch)
	}
	r.looked, r.due = now, math.MaxInt64
}

// end forgets those that are gone. After an error, which may have hidden some that are due,
// the next look is at once.
func (r *resends) end(err error) {
	r.sent, r.kept = r.kept, r.sent
	clear(r.kept)
	if err != nil {
		r.due = 0
	}
}

// nextDue is at what age a SYN/ACK that was sent again so often is due, or done. One that
// found no room is due already.
func nextDue(times []time.Duration, keep time.Duration, sent int) time.Duration {
	if sent < len(times) {
		return times[sent]
	}
	return keep
}

// unheardBatch is how many are read at a time.
const unheardBatch = 256

// eachUnheard reads many at a time: one by one, a full map were thousands of system
// calls.
func (f *Filter) eachUnheard(visit func(onevipOvFlow, *onevipOvUnheard)) error {
	keys, values := f.again.keys, f.again.values
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

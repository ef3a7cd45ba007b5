// SPDX-License-Identifier: Apache-2.0

package nodeagent

import "time"

const (
	// giveUpAfter is when an assignment that nobody reported adopted stops
	// counting as in flight. It is above a lost SYN/ACK's or ACK's first
	// retransmission (1 s), and low, or a SYN flood would blind the scheduler.
	giveUpAfter = 3 * time.Second
	// sampleEvery spaces what is remembered of past totals.
	sampleEvery = 100 * time.Millisecond
)

// ledger keeps account, for one service and one owner, of how many of this
// scheduler's assignments are settled: adopted, or given up.
//
// Invariant: settled never falls and is at most assigned, both until the
// programs are loaded anew and assigned starts again.
type ledger struct {
	opened      bool
	assigned    uint64 // as last seen
	settled     uint64
	adopted     uint64 // as last reported, for differences
	incarnation uint64 // that reported it
	past        []sample
}

// sample is what assigned was at a time.
type sample struct {
	at       time.Time
	assigned uint64
}

// settle brings the account up to date: assigned is this scheduler's total for
// the owner, adopted the owner's total for this scheduler, in its incarnation.
// Totals are taken by their growth only, because both sides may have counted
// before they knew of each other; a total that falls was begun anew.
func (l *ledger) settle(now time.Time, assigned, adopted, incarnation uint64) uint64 {
	if !l.opened || assigned < l.assigned {
		*l = ledger{opened: true, settled: assigned, adopted: adopted, incarnation: incarnation}
	}
	if incarnation == l.incarnation && adopted > l.adopted {
		l.settled += adopted - l.adopted
	}
	l.assigned, l.adopted, l.incarnation = assigned, adopted, incarnation
	l.settled = min(max(l.settled, l.givenUp(now)), assigned)
	l.remember(now, assigned)
	return l.settled
}

// givenUp is what assigned was giveUpAfter ago, 0 if that is not known.
func (l *ledger) givenUp(now time.Time) (assigned uint64) {
	for _, s := range l.past {
		if now.Sub(s.at) < giveUpAfter {
			break
		}
		assigned = s.assigned
	}
	return assigned
}

// remember adds a sample and drops those that a newer one makes useless: the
// newest of the old ones is enough.
func (l *ledger) remember(now time.Time, assigned uint64) {
	old := 0
	for old+1 < len(l.past) && now.Sub(l.past[old+1].at) >= giveUpAfter {
		old++
	}
	l.past = append(l.past[:0], l.past[old:]...)
	if n := len(l.past); n == 0 || now.Sub(l.past[n-1].at) >= sampleEvery {
		l.past = append(l.past, sample{now, assigned})
	}
}

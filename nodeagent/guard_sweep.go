// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"cmp"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

const (
	// sweepRounds is how often a silent client is probed at most, sweepEvery how
	// far apart the rounds are.
	sweepRounds = 3
	sweepEvery  = time.Second
	// probeAgain is the least time between two probes of a client: Linux answers one
	// in half a second (tcp_invalid_ratelimit).
	probeAgain = 500 * time.Millisecond
	// probeRate bounds the probes of a node, in frames a second. Each is answered,
	// and the answer flooded to all nodes.
	probeRate  = 5000
	probeBurst = 100
	// pace is how often the next of those that wait are sent.
	pace = 2 * time.Millisecond
	// rereadAfter gathers what is condemned, so that records are read once for many.
	rereadAfter = 200 * time.Millisecond
	// forgetAfter is how long the store keeps the connections of a dead node after
	// they were dealt with: another guard may have to begin anew.
	forgetAfter = 10 * time.Second
	// forgetEvery spaces the batches in which they are deleted.
	forgetEvery = 100 * time.Millisecond
	// retryAfter is the pause after a read or write that failed.
	retryAfter = time.Second
)

// sweep goes through the connections that a failed node left behind in slots for
// which this node acts, and looks for those whose clients are silent. Who talks
// gets a RST by the filter at once, and is not in the records any more when it
// comes to the next round.
type sweep struct {
	duty
	queue  []bpf.Guarded // to probe in this round
	closed []bpf.Guarded // those that have closed: probed once, when queue is empty
	probed map[bpf.Flow]probed
	known  map[bpf.Flow]bool
	read   time.Time // when to read the records; zero: not again
	fresh  bool      // slots were added since the last read

	recall time.Time // when to read the store's records of connections; zero: not again
	stored []state.Conn
	forget time.Time // when to delete them; zero: there are none
}

// probed is how often a client was probed, and when last.
type probed struct {
	times int
	last  time.Time
}

func newSweep() *sweep {
	return &sweep{probed: map[bpf.Flow]probed{}, known: map[bpf.Flow]bool{}}
}

// take follows the duty. Slots that are new in it are swept from the beginning.
func (s *sweep) take(now time.Time, d duty) {
	before := s.slots
	s.duty = d
	for slot, acts := range d.slots {
		if acts && (before == nil || !before[slot]) {
			s.fresh, s.read, s.recall = true, now, now
		}
	}
}

// owners are whose records the next round needs. At first those of nobody are
// among them: this node may have become the guard in the middle of a connection.
func (s *sweep) owners() []topology.NodeID {
	if s.fresh {
		return []topology.NodeID{s.owner, topology.Undecided}
	}
	return []topology.NodeID{s.owner}
}

// begin takes the records of a round: what is to be probed, and what must be asked
// about before. What is not among them any more is forgotten. Records outlive their
// connections, so those seen last go first.
func (s *sweep) begin(now time.Time, records []bpf.Guarded) (unknown []suspect) {
	before := s.probed
	s.fresh, s.queue, s.closed, s.read = false, nil, nil, time.Time{}
	s.probed, s.known = map[bpf.Flow]probed{}, map[bpf.Flow]bool{}
	for _, g := range records {
		switch {
		case !s.slots[bpf.SlotOf(g.Flow.Client, g.Flow.VIP)]:
		case g.Owner == topology.Undecided && g.Closing: // if it talks, it is a stray
		case isUndecided(g): // when it talks its inspector decides, or the filter in its place
		case g.Owner == topology.Undecided:
			unknown = append(unknown, s.unknown(g))
		case g.Owner == s.owner:
			s.known[g.Flow], s.probed[g.Flow] = true, before[g.Flow]
			s.enqueue(now, g)
		}
	}
	seenLast := func(a, b bpf.Guarded) int { return cmp.Compare(a.Seen, b.Seen) }
	slices.SortStableFunc(s.queue, seenLast)
	slices.SortStableFunc(s.closed, seenLast)
	return unknown
}

// unknown is a connection whose owner the record does not say.
func (s *sweep) unknown(g bpf.Guarded) suspect {
	out := suspect{flow: g.Flow, epoch: s.epoch, record: g}
	if g.Inspector != topology.Undecided {
		out.twice = handedWithin
	}
	return out
}

// isUndecided tells of a connection that it is nobody's yet: its client has not asked for
// anything, so that its inspector had nothing to decide.
func isUndecided(g bpf.Guarded) bool {
	return g.Owner == topology.Undecided && g.Inspector != topology.Undecided && !g.Data
}

// enqueue lets a client be probed, unless it was often enough or is still to answer;
// then there will be another round. Most that have closed wait for nobody: the record
// is what their connection left behind. Some do, for an answer to all that they sent.
func (s *sweep) enqueue(now time.Time, g bpf.Guarded) {
	p := s.probed[g.Flow]
	if g.Closing {
		if p.times == 0 {
			s.closed = append(s.closed, g)
		}
		return
	}
	if p.times >= sweepRounds {
		return
	}
	if p.times == 0 || !now.Before(p.last.Add(probeAgain)) {
		s.queue = append(s.queue, g)
	}
	s.read = earlier(s.read, now.Add(sweepEvery))
}

// drain takes the next n to probe.
func (s *sweep) drain(now time.Time, n int) []bpf.Guarded {
	from := &s.queue
	if len(s.queue) == 0 {
		from = &s.closed
	}
	n = min(n, len(*from))
	out := (*from)[:n]
	*from = (*from)[n:]
	for _, g := range out {
		s.probed[g.Flow] = probed{s.probed[g.Flow].times + 1, now}
	}
	return out
}

// condemned adds a connection that turned out to be an orphan. Its record, if there
// was one, is probed at once; the records are read again, for there is one now.
func (s *sweep) condemned(now time.Time, g bpf.Guarded) {
	if g.Flow.Client.IsValid() {
		s.enqueue(now, g)
	}
	s.read = earlier(s.read, now.Add(rereadAfter))
}

// recalled takes the store's records of the node's connections. Those of which the
// filter knows nothing, because the guard that did is dead or its table was full,
// must be asked about: they may be old. Those in the queue are open for sure, and go
// first.
func (s *sweep) recalled(now time.Time, conns []state.Conn) (unknown []suspect) {
	s.stored, s.forget = nil, time.Time{}
	open := map[bpf.Flow]bool{}
	for _, c := range conns {
		if !s.slots[bpf.SlotOf(c.Client, c.VIP)] {
			continue
		}
		s.stored = append(s.stored, c)
		flow := bpf.Flow{Client: c.Client, VIP: c.VIP}
		open[flow] = true
		if !s.known[flow] {
			unknown = append(unknown, suspect{flow: flow, epoch: s.epoch})
		}
	}
	if len(s.stored) > 0 {
		s.forget = now.Add(forgetAfter)
	}
	first := slices.Clone(s.queue)
	s.queue = append(slices.DeleteFunc(first, func(g bpf.Guarded) bool { return !open[g.Flow] }),
		slices.DeleteFunc(s.queue, func(g bpf.Guarded) bool { return open[g.Flow] })...)
	return unknown
}

// batch takes the next of the store's records to delete. A node that is back goes
// through them itself, and may have written some anew.
func (s *sweep) batch() []state.Conn {
	s.forget = time.Time{}
	if s.left {
		s.stored = nil
	}
	n := min(len(s.stored), state.MaxBatch)
	out := s.stored[:n]
	s.stored = s.stored[n:]
	return out
}

// deleted follows a batch with the next one, or tries it again.
func (s *sweep) deleted(now time.Time, batch []state.Conn, err error) {
	after := forgetEvery
	if err != nil {
		s.stored, after = append(s.stored, batch...), retryAfter
	}
	if len(s.stored) > 0 {
		s.forget = now.Add(after)
	}
}

// next is when the sweep has something to do; zero: never.
func (s *sweep) next(now time.Time) time.Time {
	if len(s.queue)+len(s.closed) > 0 {
		return now.Add(pace)
	}
	return earlier(earlier(s.read, s.recall), s.forget)
}

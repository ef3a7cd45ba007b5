// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

const (
	// maxInquiries bounds those under way, maxSuspects those that wait: more than
	// the records that the filter can have, and as many again from the store.
	maxInquiries = 4096
	maxSuspects  = 131072
	// questionRate bounds the who-has frames of a node, in frames a second.
	questionRate  = 10000
	questionBurst = 256
	// askTimes is how often a node is asked, askEvery how far apart. Filters
	// answer in less than a millisecond; a busy machine may take longer.
	askTimes = 3
	askEvery = 100 * time.Millisecond
	// ownedFor is how long the word of a node that it has a connection is good.
	ownedFor = time.Minute
	// handedWithin is how long a connection may be on its way from its inspector to its
	// owner, and nobody has it.
	handedWithin = 300 * time.Millisecond
	// adoptedWithin is how long a client's first segment may be on its way to its owner,
	// and nobody has the connection: if it is lost, the client waits so long at first
	// until it sends it again (RFC 6298, 2.1), and what it sent behind it is a stray.
	adoptedWithin = time.Second
	// heldFor is how long a connection is left to an inspector that is alive before all
	// are asked once more: several times what a client waits until it sends its first
	// segment again. If it sends nothing at all, it may be cut off: heldMost times.
	heldFor  = 3 * time.Second
	heldMost = 3
)

// suspect is a connection whose owner is not known here, and may have failed.
type suspect struct {
	flow   bpf.Flow
	epoch  uint64      // of the failure that it is an orphan of, if it is one
	record bpf.Guarded // zero: there was none
	// twice: it may be on its way to its owner, so that all must say no twice, so far
	// apart, which is one of delays. 0: once is enough.
	twice time.Duration
	talks bool // the client does, and the filter told so
	held  int  // how often it was left to its inspector
}

// outcome is how an inquiry ended, or why there was none.
type outcome string

const (
	outcomeOwned     outcome = "owned"     // a node has the connection
	outcomeCondemned outcome = "condemned" // all say that they have not
	outcomeSilent    outcome = "silent"    // a node did not answer: the connection is left alone
	outcomeOverflow  outcome = "overflow"  // too many suspects at once
	outcomeNoDuty    outcome = "no_duty"   // this node acts for nobody in the slot
	outcomeHere      outcome = "here"      // beside another outcome: this node itself has the connection
	outcomeUndecided outcome = "undecided" // all say that they have not, and its inspector has yet to decide: left alone
)

var outcomes = []outcome{outcomeOwned, outcomeCondemned, outcomeSilent, outcomeOverflow, outcomeNoDuty, outcomeHere, outcomeUndecided}

// finding ends an inquiry.
type finding struct {
	suspect
	outcome outcome
	owner   topology.NodeID // where it is outcomeOwned
}

// inquiries asks the other nodes who has a connection. It has no clock and sends
// nothing. Not for concurrent use.
type inquiries struct {
	open    map[bpf.Flow]*inquiry
	asked   []*inquiry // those open, and some that are not any more, by again
	backlog []suspect
	later   [len(delays)][]delayed // in the order of delays; each by due
	waiting map[bpf.Flow]bool      // in backlog or later
	owned   map[bpf.Flow]time.Time // until when another node has it
	limit   *rate.Limiter
	nonce   uint64 // of the newest inquiry
	from    topology.MAC
}

// delays are how long suspects wait that are asked about once more: nobody had them, or
// they were left to their inspectors.
var delays = [...]time.Duration{handedWithin, adoptedWithin, heldFor}

// delayed is a suspect that waits so.
type delayed struct {
	suspect
	due time.Time
}

// inquiry is under way. Who said no is not asked again.
type inquiry struct {
	suspect
	left  []askee // who has not answered
	nonce uint64
	times int
	again time.Time
}

// newInquiries asks from a MAC, and counts its nonces from the one given.
func newInquiries(from topology.MAC, nonce uint64) *inquiries {
	return &inquiries{
		open: map[bpf.Flow]*inquiry{}, waiting: map[bpf.Flow]bool{}, owned: map[bpf.Flow]time.Time{},
		limit: rate.NewLimiter(questionRate, questionBurst), nonce: nonce, from: from,
	}
}

// add takes a suspect in, unless it is being asked about or was found to be owned.
// It tells whether there was room.
func (q *inquiries) add(now time.Time, s suspect) (room bool) {
	if q.waiting[s.flow] || q.open[s.flow] != nil || now.Before(q.owned[s.flow]) {
		return true
	}
	if !q.hasRoom() {
		return false
	}
	q.backlog = append(q.backlog, s)
	q.waiting[s.flow] = true
	return true
}

func (q *inquiries) hasRoom() bool {
	n := len(q.backlog)
	for _, queue := range q.later {
		n += len(queue)
	}
	return n < maxSuspects
}

// hold has a suspect asked about once more, but not soon. It tells whether there was room.
func (q *inquiries) hold(now time.Time, s suspect) (room bool) {
	if q.waiting[s.flow] || q.open[s.flow] != nil {
		return true
	}
	if !q.hasRoom() {
		return false
	}
	s.held++
	q.delay(now, s, heldFor)
	return true
}

// delay has a suspect wait, for one of delays.
func (q *inquiries) delay(now time.Time, s suspect, d time.Duration) {
	queue := &q.later[slices.Index(delays[:], d)]
	*queue = append(*queue, delayed{s, now.Add(d)})
	q.waiting[s.flow] = true
}

// awake lets those wait for their turn whose delay is over.
func (q *inquiries) awake(now time.Time) {
	for i := range q.later {
		queue := &q.later[i]
		for len(*queue) > 0 && !now.Before((*queue)[0].due) {
			q.backlog = append(q.backlog, (*queue)[0].suspect)
			*queue = (*queue)[1:]
		}
	}
}

// step asks what is due now, as the rate allows.
func (q *inquiries) step(now time.Time, askees []askee) (questions []bpf.Question, ended []finding) {
	q.awake(now)
	for len(q.asked) > 0 && !now.Before(q.asked[0].again) {
		i := q.asked[0]
		open := q.open[i.flow] == i
		if open && i.times < askTimes && !q.allow(now, len(i.left)) {
			return questions, ended
		}
		q.asked = q.asked[1:]
		switch {
		case !open:
		case i.times == askTimes:
			ended = append(ended, q.end(now, i, outcomeSilent, topology.Undecided))
		default:
			questions = append(questions, q.ask(now, i)...)
		}
	}
	for len(q.backlog) > 0 && len(q.open) < maxInquiries && q.allow(now, len(askees)) {
		i := q.begin(askees)
		if len(askees) == 0 {
			if v := q.nobody(now, i); v != nil {
				ended = append(ended, *v)
			}
			continue
		}
		questions = append(questions, q.ask(now, i)...)
	}
	return questions, ended
}

// begin opens the inquiry about the first suspect that waits. Where there is nobody
// to ask, the connection can only have been a failed node's.
func (q *inquiries) begin(askees []askee) *inquiry {
	q.nonce++
	i := &inquiry{suspect: q.backlog[0], left: slices.Clone(askees), nonce: q.nonce}
	q.backlog = q.backlog[1:]
	delete(q.waiting, i.flow)
	q.open[i.flow] = i
	return i
}

// allow takes n questions from the rate, if they are there.
func (q *inquiries) allow(now time.Time, n int) bool {
	return q.limit.AllowN(now, min(n, questionBurst))
}

func (q *inquiries) ask(now time.Time, i *inquiry) (questions []bpf.Question) {
	for _, to := range i.left {
		questions = append(questions, bpf.Question{
			Kind: bpf.AskWhoHas, Asked: to.id, Nonce: i.nonce, Flow: i.flow, From: q.from, To: to.mac,
		})
	}
	i.times++
	i.again = now.Add(askEvery)
	q.asked = append(q.asked, i)
	return questions
}

// answer takes what a node said. nil: the inquiry goes on, or there is none.
func (q *inquiries) answer(now time.Time, a bpf.Answer) *finding {
	i := q.open[a.Flow]
	if i == nil || i.nonce != a.Nonce || !slices.ContainsFunc(i.left, func(n askee) bool { return n.id == a.Asked }) {
		return nil
	}
	if a.Yes {
		v := q.end(now, i, outcomeOwned, a.Asked)
		return &v
	}
	return q.drop(now, i, func(n askee) bool { return n.id == a.Asked })
}

// follow takes who there is to ask. Nodes that are behind a fence by now will not
// answer, and what they have does not count.
func (q *inquiries) follow(now time.Time, askees []askee) (ended []finding) {
	for _, i := range q.open {
		if v := q.drop(now, i, func(n askee) bool { return !slices.Contains(askees, n) }); v != nil {
			ended = append(ended, *v)
		}
	}
	return ended
}

// drop waits no more for those that gone says. nil: for others.
func (q *inquiries) drop(now time.Time, i *inquiry, gone func(askee) bool) *finding {
	i.left = slices.DeleteFunc(i.left, gone)
	if len(i.left) > 0 {
		return nil
	}
	return q.nobody(now, i)
}

// nobody ends an inquiry in which all said no. nil: there is to be another one.
func (q *inquiries) nobody(now time.Time, i *inquiry) *finding {
	v := q.end(now, i, outcomeCondemned, topology.Undecided)
	if i.twice == 0 {
		return &v
	}
	apart := i.twice
	i.twice = 0
	q.delay(now, i.suspect, apart)
	return nil
}

func (q *inquiries) end(now time.Time, i *inquiry, o outcome, owner topology.NodeID) finding {
	delete(q.open, i.flow)
	if o == outcomeOwned {
		if len(q.owned) >= maxSuspects {
			clear(q.owned)
		}
		q.owned[i.flow] = now.Add(ownedFor)
	}
	return finding{i.suspect, o, owner}
}

// doubt forgets who was said to have what: a node has failed.
func (q *inquiries) doubt() { clear(q.owned) }

// next is when step should be called again; zero: when something is added.
func (q *inquiries) next(now time.Time) time.Time {
	if len(q.backlog) > 0 && len(q.open) < maxInquiries {
		return now.Add(pace)
	}
	var at time.Time
	if len(q.asked) > 0 {
		at = q.asked[0].again
	}
	for _, queue := range q.later {
		if len(queue) > 0 {
			at = earlier(at, queue[0].due)
		}
	}
	return at
}

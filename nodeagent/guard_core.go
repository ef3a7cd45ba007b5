// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// guardCore decides what this node does in the place of failed ones: the filter
// resets or adopts what talks; here are the silent, and those whose owner nobody
// here knows. It has no clock and does no I/O. Not for concurrent use.
type guardCore struct {
	name topology.NodeName
	view state.View // the newest
	// inspected are the services of the view, by VIP and port, whose connections come to
	// their owner by way of an inspector.
	inspected map[netip.AddrPort]bool
	tables    guardTables
	duties    duties

	failed []bpf.Failed // as last asked to install; nil: never
	again  time.Time    // when to ask again; zero: it is installed
	sweeps map[uint64]*sweep
	limit  *rate.Limiter // of probes
	asking *inquiries
}

// newGuardCore makes the core of a node whose interface has a MAC. Its inquiries are
// numbered from nonce.
func newGuardCore(name topology.NodeName, from topology.MAC, nonce uint64) *guardCore {
	return &guardCore{
		name: name, tables: guardTables{}, sweeps: map[uint64]*sweep{},
		limit: rate.NewLimiter(probeRate, probeBurst), asking: newInquiries(from, nonce),
	}
}

// Step decides on one event.
func (c *guardCore) Step(now time.Time, ev guardEvent) []guardAction {
	var out []guardAction
	switch ev := ev.(type) {
	case guardView:
		c.view, c.inspected = ev.view, inspectedIn(ev.view)
		out = c.follow(now)
	case strayNoticed:
		out = c.onStray(now, ev.flow)
	case nodeAnswered:
		if v := c.asking.answer(now, ev.answer); v != nil {
			out = c.conclude([]finding{*v})
		}
	case recordsRead:
		out = c.onRecords(now, ev)
	case lookedAgain:
		out = c.onLookedAgain(now, ev)
	case connsRead:
		out = c.onConns(now, ev)
	case connsDeleted:
		if s := c.sweeps[ev.epoch]; s != nil {
			s.deleted(now, ev.conns, ev.err)
		}
	case failedNotSet:
		c.again = now.Add(retryAfter)
		return nil
	}
	return append(out, c.proceed(now)...)
}

func inspectedIn(v state.View) map[netip.AddrPort]bool {
	out := map[netip.AddrPort]bool{}
	for _, s := range v.Services {
		for _, vip := range s.VIPs {
			if s.Policy.Inspects() {
				out[netip.AddrPortFrom(vip, s.Port)] = true
			}
		}
	}
	return out
}

// next is when Step wants to be told paced; zero: not before something happens.
func (c *guardCore) next(now time.Time) time.Time {
	at := earlier(earlier(c.again, c.duties.until), c.asking.next(now))
	for _, s := range c.sweeps {
		at = earlier(at, s.next(now))
	}
	if !at.IsZero() && at.Before(now.Add(pace)) {
		return now.Add(pace)
	}
	return at
}

// follow does what the View asks.
func (c *guardCore) follow(now time.Time) (out []guardAction) {
	c.duties = wantDuties(now, c.view, c.name, c.tables)
	if failed := c.duties.failed(); !reflect.DeepEqual(failed, c.failed) {
		c.failed, c.again = failed, time.Time{}
		out = append(out, setFailed{failed})
	}
	for _, d := range c.duties.duties {
		if c.sweeps[d.epoch] == nil {
			c.sweeps[d.epoch] = newSweep()
			c.asking.doubt()
			out = append(out, say{slog.LevelInfo, "acting for a failed node", []any{"node", d.node, "node_id", d.owner, "slots", d.count()}})
		}
		c.sweeps[d.epoch].take(now, d)
	}
	maps.DeleteFunc(c.sweeps, func(epoch uint64, _ *sweep) bool {
		return !slices.ContainsFunc(c.duties.duties, func(d duty) bool { return d.epoch == epoch })
	})
	return append(out, c.conclude(c.asking.follow(now, c.duties.askees))...)
}

// proceed does what is due.
func (c *guardCore) proceed(now time.Time) (out []guardAction) {
	if due(now, c.duties.until) {
		out = c.follow(now)
	}
	if due(now, c.again) {
		c.again = time.Time{}
		out = append(out, setFailed{c.failed})
	}
	for _, epoch := range slices.Sorted(maps.Keys(c.sweeps)) {
		out = append(out, c.sweep(now, c.sweeps[epoch])...)
	}
	questions, ended := c.asking.step(now, c.duties.askees)
	if len(questions) > 0 {
		out = append(out, ask{questions})
	}
	return append(out, c.conclude(ended)...)
}

// sweep takes one sweep further. A round begins when the one before is through.
func (c *guardCore) sweep(now time.Time, s *sweep) (out []guardAction) {
	if due(now, s.read) && len(s.queue) == 0 {
		s.read = time.Time{}
		out = append(out, readRecords{s.epoch, s.owners()})
	}
	if due(now, s.recall) {
		s.recall = time.Time{}
		out = append(out, readConns{s.epoch, s.node})
	}
	if due(now, s.forget) {
		if conns := s.batch(); len(conns) > 0 {
			out = append(out, deleteConns{s.epoch, conns})
		}
	}
	records := s.drain(now, int(c.limit.TokensAt(now)))
	if len(records) > 0 {
		c.limit.AllowN(now, len(records))
		out = append(out, probe{records})
	}
	return out
}

// onRecords begins a round of a sweep.
func (c *guardCore) onRecords(now time.Time, ev recordsRead) []guardAction {
	s := c.sweeps[ev.epoch]
	if s == nil {
		return nil
	}
	if ev.err != nil {
		s.read = now.Add(retryAfter)
		return []guardAction{say{slog.LevelError, "records of guarded connections can not be read: silent orphans stay",
			[]any{"node", s.node, "err", ev.err}}}
	}
	return c.suspect(now, s.begin(now, ev.records))
}

// onConns takes the store's word for what the failed node had.
func (c *guardCore) onConns(now time.Time, ev connsRead) []guardAction {
	s := c.sweeps[ev.epoch]
	if s == nil {
		return nil
	}
	if ev.err != nil {
		s.recall = now.Add(retryAfter)
		return nil // that etcd is out of reach is said by others
	}
	return c.suspect(now, s.recalled(now, ev.conns))
}

// onStray asks about a connection, if this node acts for anybody in its slot.
func (c *guardCore) onStray(now time.Time, flow bpf.Flow) []guardAction {
	d := c.duties.of(bpf.SlotOf(flow.Client, flow.VIP))
	if d == nil {
		return []guardAction{countStray{outcomeNoDuty}}
	}
	twice := adoptedWithin
	if c.inspected[flow.VIP] {
		twice = handedWithin
	}
	return c.suspect(now, []suspect{{flow: flow, epoch: d.epoch, twice: twice, talks: true}})
}

func (c *guardCore) suspect(now time.Time, suspects []suspect) (out []guardAction) {
	for _, s := range suspects {
		if !c.asking.add(now, s) {
			out = append(out, countStray{outcomeOverflow})
		}
	}
	return out
}

// due tells whether a time has come; a zero one never does.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// core decides. It has no clock and does no I/O: Step takes an event and the
// time, and gives the actions to carry out, in order. Not for concurrent use.
type core struct {
	about state.Agent // the parts of the record that never change
	mtu   int         // bounds a heartbeat's payload

	view      state.View // the last one that has this node with an id
	reachable bool
	roster    roster

	want      tables    // as last asked to install
	ready     bool      // want is of a node with an id; it stays so
	installed bool      // want, or one before it, is whole in the kernel
	epoch     uint64    // of the slot table in the kernel
	listening time.Time // until when the others' heartbeats are only listened to
	handover  handover
	fall      fall

	vigil       *vigil
	suspects    []topology.NodeID // as last given to the programs
	suspectsSet bool              // suspects is that; not what an earlier agent gave

	sequence uint64 // of the next heartbeat
	peers    *peers
	health   map[topology.ServiceName]*health
	checking bool // the services are checked
	loads    map[topology.ServiceID]*loadBook
	counts   counts // the newest
	told     counts // as in the last heartbeat

	warnings   warnings
	violations violations
	seen       []state.LocalitySeen
	published  state.Agent
}

// warnings are what the agent has to complain of, by source.
type warnings struct{ survey, state, install []string }

// newCore makes the core of a node about which the record says what is constant.
// The first heartbeat has sequence.
func newCore(about state.Agent, mtu int, sequence uint64) *core {
	return &core{
		about: about, mtu: mtu, reachable: true, sequence: sequence,
		peers:  newPeers(parseIncarnation(about.Incarnation)),
		vigil:  newVigil(parseIncarnation(about.Incarnation) + sequence),
		health: map[topology.ServiceName]*health{},
		loads:  map[topology.ServiceID]*loadBook{},
		counts: counts{}, told: counts{},
	}
}

// Step decides on one event.
func (c *core) Step(now time.Time, ev event) []action {
	switch ev := ev.(type) {
	case frameReceived:
		return c.onFrame(now, ev.payload)
	case loadsDue:
		return c.onLoads(now, ev.counts)
	case beatDue:
		c.told = ev.counts
		return append(c.onLoads(now, ev.counts), c.beat(false)...)
	case stopping:
		return c.beat(true)
	case notWritten:
		c.loads[ev.service].forgetWritten()
		return nil
	case reportDue:
		return c.onSecond(now, ev)
	case watchDue:
		return c.onWatch(now)
	case answered:
		return c.onAnswer(now, ev.answer)
	case speculated:
		return c.onSpeculated(now, ev.primary)
	case stoodDown:
		return c.onStoodDown(now, ev)
	case requestsSeen:
		c.seen = ev.seen
	case viewChanged:
		return append(c.onView(now, ev.update), c.report(false)...)
	case checkEnded:
		return append(c.onCheck(ev), c.report(false)...)
	case installed:
		c.onInstalled(ev)
		return c.report(false)
	case surveyed:
		c.warnings.survey = ev.warnings
		return c.report(false)
	}
	return nil
}

// onSecond does what is due each second. The programs want a pulse, however far
// apart heartbeats are.
func (c *core) onSecond(now time.Time, ev reportDue) (out []action) {
	if c.installed && !c.fall.down() {
		out = append(out, pulse{})
	}
	out = append(out, c.violations.take(ev.violations)...)
	return append(append(out, c.report(true)...), c.clear(now)...)
}

// onView takes what the store delivered. A View that comes with an error is the
// last one known: nothing changes but that it is said.
func (c *core) onView(now time.Time, u state.Update) []action {
	out := c.reach(u.Err)
	if u.Err != nil {
		return out
	}
	want, problems, ready := wantTables(u.View, c.about.Name)
	c.warnings.state = append(problems, u.View.Problems...)
	if hasFallen(u.View, c.about.Name) {
		return append(out, c.onFall(now, u.View)...)
	}
	if !ready || c.isStranger(u.View) {
		c.warnings.state = append(c.warnings.state, c.notReady(ready))
		return out
	}
	c.view = u.View
	out = append(out, c.rise(now, want.self.ID)...)
	if !c.ready {
		c.listening = now.Add(c.patience())
	}
	out = append(out, c.violations.follow(u.View.Cluster.Created, want.epoch)...)
	want.slots = c.handover.follow(want.self.ID, want.epoch, want.slots, confirmedEpoch(u.View), aliveNodes(u.View))
	if !c.ready || !reflect.DeepEqual(want, c.want) {
		out = append(out, install{want})
	}
	isNew := !c.ready
	c.ready, c.want = true, want
	c.followPeers()
	if isNew {
		c.expectPeers(now)
	}
	return append(out, c.followServices(now)...)
}

// reach tells of a change in etcd's being in reach.
func (c *core) reach(err error) []action {
	ok := err == nil
	if ok == c.reachable {
		return nil
	}
	c.reachable = ok
	if ok {
		return []action{setReach{true}, say{slog.LevelInfo, "etcd is in reach again", nil}}
	}
	return []action{setReach{false}, say{slog.LevelError,
		"etcd is out of reach: the last known tables stay in force, nothing new is stored", []any{"err", err}}}
}

// isStranger tells whether the id that the store has is of an earlier boot of this
// node. That boot's connections are gone, so its id must not come to life again.
func (c *core) isStranger(v state.View) bool {
	boot := v.Nodes[c.about.Name].Incarnation
	return !c.ready && boot != "" && boot != c.about.Incarnation
}

// notReady explains why nothing is installed, or why nothing changes.
func (c *core) notReady(hasID bool) string {
	switch {
	case c.ready:
		return "the store does not list this node any more: the last known tables stay in force"
	case hasID:
		return "waiting for the controller to notice that this node was booted anew"
	}
	return "waiting for the controller to give this node an id"
}

// patience is the silence after which a node is suspected.
func (c *core) patience() time.Duration {
	return time.Duration(c.view.Cluster.HeartbeatInterval) * time.Duration(max(1, c.view.Cluster.HeartbeatMisses))
}

// followServices makes health and loads follow the services that there are. Nothing is
// checked before the VIPs were ever asked for: they are elsewhere.
func (c *core) followServices(now time.Time) []action {
	changed := false
	ids := map[topology.ServiceID]bool{}
	for name, s := range c.view.Services {
		ids[s.ID] = true
		changed = c.followService(now, name, s) || changed
	}
	for name := range c.health {
		if _, there := c.view.Services[name]; !there {
			delete(c.health, name)
			changed = true
		}
	}
	maps.DeleteFunc(c.loads, func(id topology.ServiceID, _ *loadBook) bool { return !ids[id] })
	rules := wantConns(c.view, c.about.Name)
	rules.paused = c.fall.down()
	if !c.ready || !changed && c.checking {
		return []action{watchConns{rules}}
	}
	c.checking = true
	return []action{runChecks{c.services()}, watchConns{rules}}
}

// followService tells whether the checks of a service changed.
func (c *core) followService(now time.Time, name topology.ServiceName, s state.Service) bool {
	book := c.loads[s.ID]
	if book == nil || book.service.Name != name {
		book = newLoadBook(now)
		c.loads[s.ID] = book
	}
	before := book.service
	book.service = s
	if before.Name == name && before.Health == s.Health && slices.Equal(before.VIPs, s.VIPs) && before.Port == s.Port {
		return false
	}
	if c.health[name] == nil || before.Health.Type != s.Health.Type {
		h := newHealth(s.Health)
		c.health[name] = &h
	}
	return true
}

// services gives the services by id.
func (c *core) services() []state.Service {
	return slices.SortedFunc(maps.Values(c.view.Services), func(a, b state.Service) int { return int(a.ID) - int(b.ID) })
}

// onFrame takes or refuses a heartbeat.
func (c *core) onFrame(now time.Time, payload []byte) []action {
	if c.view.Heartbeat == nil || len(c.view.Heartbeat.Key) == 0 || c.peers.self == topology.Undecided {
		return []action{countFrame{refusedNoKey}}
	}
	h, refused := decode(payload, c.view.Heartbeat.Key)
	if refused == accepted {
		refused = c.peers.take(now, h, c.roster)
	}
	if refused != accepted {
		return []action{countFrame{refused}}
	}
	return append([]action{countFrame{accepted}, scheduleLoads{}}, c.onHeard(h.Node)...)
}

// onCheck takes the result of a health check, unless the service has another
// check by now.
func (c *core) onCheck(ev checkEnded) []action {
	h := c.health[ev.service]
	if h == nil || c.view.Services[ev.service].Health != ev.check {
		return nil
	}
	if !h.observe(ev.failure, ev.check) {
		return nil
	}
	if h.healthy {
		return []action{say{slog.LevelInfo, "service is healthy", []any{"service", ev.service}}}
	}
	return []action{say{slog.LevelWarn, "service is unhealthy", []any{"service", ev.service, "reason", h.reason}}}
}

func (c *core) onInstalled(ev installed) {
	c.epoch = ev.epoch
	c.installed = c.installed || len(ev.failed) == 0
	c.warnings.install = ev.failed
}

// beat makes the node's heartbeats. There are none before the tables are in
// the kernel, and none while it stands down: who is not heard is not picked.
func (c *core) beat(leaving bool) []action {
	if !c.installed || c.fall.down() || c.view.Heartbeat == nil || len(c.view.Heartbeat.Key) == 0 {
		return nil
	}
	h := heartbeat{
		Node: c.want.self.ID, Incarnation: c.peers.incarnation, Sequence: c.sequence, Leaving: leaving,
	}
	for _, s := range c.services() {
		if n, ok := c.counts[s.ID]; ok && !leaving {
			h.Services = append(h.Services, c.serviceBeat(s, n.Active, &n.Adopted))
		}
	}
	frames := h.encode(c.view.Heartbeat.Key, c.mtu)
	c.sequence += uint64(len(frames))
	return []action{pulse{}, send{frames}}
}

func (c *core) serviceBeat(s state.Service, active uint32, adopted *[256]uint64) serviceBeat {
	out := serviceBeat{Service: s.ID, Healthy: c.health[s.Name].healthy, Full: isFull(s, active), Active: active}
	for id, total := range adopted {
		if total > 0 && topology.NodeID(id).Valid() {
			out.Adopted = append(out.Adopted, adoption{topology.NodeID(id), total})
		}
	}
	return out
}

// isFull tells whether a node with so many active connections takes no more.
func isFull(s state.Service, active uint32) bool { return s.MaxConns > 0 && active >= s.MaxConns }

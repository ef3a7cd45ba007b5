// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/topology"
)

// memoryFabric is switches without Open vSwitch: one listener at a time, and
// switches that remember flows and the newest generation id.
type memoryFabric struct {
	mu        sync.Mutex
	changed   *sync.Cond
	listening *memoryListener
	listens   int
	refuse    error // of listen
	broken    error // of ensure
	ensured   map[topology.SwitchName][]string
}

func newMemoryFabric() *memoryFabric {
	f := &memoryFabric{ensured: map[topology.SwitchName][]string{}}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *memoryFabric) ensure(_ context.Context, _ string, sw topology.Switch, ports []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	f.ensured[sw.Name] = ports
	return nil
}

func (f *memoryFabric) listen(ctx context.Context, _ string) (listener, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	if f.listening != nil {
		return nil, errors.New("address already in use")
	}
	f.listens++
	f.listening = &memoryListener{fabric: f, incoming: make(chan *memorySession, 1)}
	f.changed.Broadcast()
	return f.listening, nil
}

// count tells how often somebody listened, and whether somebody does.
func (f *memoryFabric) count() (listens int, listening bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listens, f.listening != nil
}

type memoryListener struct {
	fabric   *memoryFabric
	incoming chan *memorySession
	sessions []*memorySession // guarded by fabric.mu
}

func (l *memoryListener) accept(ctx context.Context) (session, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case s := <-l.incoming:
		return s, nil
	}
}

func (l *memoryListener) Close() error {
	l.fabric.mu.Lock()
	defer l.fabric.mu.Unlock()
	l.fabric.listening = nil
	for _, s := range l.sessions {
		_ = s.Close()
	}
	return nil
}

// memorySwitch is one switch; it has one session at a time.
type memorySwitch struct {
	fabric *memoryFabric
	id     ovs.DatapathID

	mu         sync.Mutex
	ports      []ovs.Port
	generation uint64
	master     *memorySession
	installed  ovs.Pipeline
	changes    int           // of flows and groups, ever
	fails      error         // of Apply
	unsettled  error         // of Settle
	foreign    bool          // flows of somebody else hold the fences' places
	slow       chan struct{} // not nil: Settle waits until it is closed
}

func newMemorySwitch(f *memoryFabric, id ovs.DatapathID, ports ...string) *memorySwitch {
	sw := &memorySwitch{fabric: f, id: id}
	for i, name := range ports {
		sw.ports = append(sw.ports, ovs.Port{Number: uint32(i + 1), Name: name, Up: true})
	}
	return sw
}

// connect waits for somebody to listen and connects to them.
func (sw *memorySwitch) connect(t *testing.T) *memorySession {
	t.Helper()
	s := &memorySession{sw: sw, done: make(chan struct{}), news: make(chan struct{}, 1), announced: make(chan ovs.Intent, 100)}
	await(t, "a listener", func() bool { _, listening := sw.fabric.count(); return listening })
	sw.fabric.mu.Lock()
	l := sw.fabric.listening
	l.sessions = append(l.sessions, s)
	sw.fabric.mu.Unlock()
	l.incoming <- s
	return s
}

// flows is what is installed, as text.
func (sw *memorySwitch) flows() string {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	return sw.installed.Text(sw.ports)
}

func (sw *memorySwitch) count() (changes int, generation uint64) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	return sw.changes, sw.generation
}

func (sw *memorySwitch) fail(err error) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.fails = err
}

type memorySession struct {
	sw        *memorySwitch
	once      sync.Once
	done      chan struct{}
	news      chan struct{}
	announced chan ovs.Intent
}

func (s *memorySession) DatapathID() ovs.DatapathID    { return s.sw.id }
func (s *memorySession) PortsChanged() <-chan struct{} { return s.news }
func (s *memorySession) Done() <-chan struct{}         { return s.done }
func (s *memorySession) Err() error                    { return ovs.ErrHungUp }

func (s *memorySession) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}

func (s *memorySession) Claim(_ context.Context, generation uint64) error {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	if generation < s.sw.generation {
		return ovs.ErrStaleTerm
	}
	s.sw.generation, s.sw.master = generation, s
	return nil
}

func (s *memorySession) Apply(_ context.Context, wanted ovs.Pipeline) (ovs.Applied, error) {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	if s.sw.master != s {
		return ovs.Applied{}, ovs.ErrNotMaster
	}
	if s.sw.fails != nil {
		return ovs.Applied{}, s.sw.fails
	}
	applied := ovs.Applied{Changes: map[ovs.Op]int{}}
	if s.sw.foreign {
		wanted.Flows = slices.DeleteFunc(slices.Clone(wanted.Flows), func(f ovs.Flow) bool {
			fence := f.Cookie.Kind() == ovs.KindFenced
			if fence {
				applied.Conflicts = append(applied.Conflicts, f)
			}
			return fence
		})
	}
	for _, change := range ovs.Diff(s.sw.installed, wanted) {
		applied.Changes[change.Op]++
		s.sw.changes++
	}
	s.sw.installed = wanted
	return applied, nil
}

// Settle waits while the switch is slow, and fails as long as it is unsettled.
func (s *memorySession) Settle(ctx context.Context, _ string, _ time.Duration) error {
	s.sw.mu.Lock()
	slow := s.sw.slow
	s.sw.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	if s.sw.master != s {
		return ovs.ErrNotMaster
	}
	return s.sw.unsettled
}

func (s *memorySession) Ports() []ovs.Port {
	s.sw.mu.Lock()
	defer s.sw.mu.Unlock()
	return s.sw.ports
}

// addPort plugs a port in.
func (s *memorySession) addPort(name string) {
	s.sw.mu.Lock()
	ports := append([]ovs.Port(nil), s.sw.ports...)
	s.sw.ports = append(ports, ovs.Port{Number: uint32(len(ports) + 1), Name: name, Up: true})
	s.sw.mu.Unlock()
	s.tell()
}

// setPort changes a port's carrier.
func (s *memorySession) setPort(name string, up bool) {
	s.sw.mu.Lock()
	ports := append([]ovs.Port(nil), s.sw.ports...)
	for i := range ports {
		if ports[i].Name == name {
			ports[i].Up = up
		}
	}
	s.sw.ports = ports
	s.sw.mu.Unlock()
	s.tell()
}

func (s *memorySession) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *memorySession) speaker(time.Duration) speaker { return memorySpeaker{s} }

type memorySpeaker struct{ session *memorySession }

func (s memorySpeaker) Set(intent ovs.Intent) { s.session.announced <- intent }

func (s memorySpeaker) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-s.session.done:
	}
	return ovs.ErrClosed
}

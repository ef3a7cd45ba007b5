// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/onevip/onevip/topology"
)

const (
	// answersPerSecond and answerBurst bound the solicitations answered for one
	// port, so that a flood from one client leaves the others theirs.
	answersPerSecond = 100
	answerBurst      = 200
	// maxLimits bounds the ports that are told apart; those beyond share.
	maxLimits = 1024
)

// Speaker speaks ARP and neighbour discovery for the VIPs at one switch: it
// announces them and answers neighbour solicitations. It reads the session's
// PacketIns, so there is one for each session.
type Speaker struct {
	session  *Session
	interval time.Duration
	changed  chan struct{} // holds at most one value

	mu     sync.Mutex // guards what follows
	face   face
	counts map[NDReason]uint64

	limits map[uint32]*rate.Limiter // by port; of Run only
}

// face is what clients see of the cluster at one switch.
type face struct {
	mac    topology.MAC
	vips   []netip.Addr
	hidden []string // ports of members and trunks: they need no announcements
}

// NewSpeaker makes a speaker that announces each interval (above 0), and at
// once what Set changes.
func NewSpeaker(session *Session, interval time.Duration) *Speaker {
	return &Speaker{
		session: session, interval: interval,
		changed: make(chan struct{}, 1),
		counts:  make(map[NDReason]uint64),
		limits:  make(map[uint32]*rate.Limiter),
	}
}

// Set says what to speak for; until then the speaker is silent. Each call makes
// it announce once, so call it again when there is a new port.
func (s *Speaker) Set(intent Intent) {
	next := face{mac: intent.ClusterMAC, vips: distinct(intent.VIPs), hidden: slices.Clone(intent.Trunks)}
	for _, m := range slices.Concat(intent.Members, intent.Fenced) {
		next.hidden = append(next.hidden, m.Port)
	}
	s.mu.Lock()
	s.face = next
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Counts tells what became of neighbour solicitations.
func (s *Speaker) Counts() map[NDReason]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Run speaks until ctx or the session ends, and returns why; ErrNotMaster if
// the session has not claimed the switch or lost it.
func (s *Speaker) Run(ctx context.Context) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.session.Done():
			return s.session.Err()
		case <-s.changed:
			err = s.announce(ctx)
		case <-tick.C:
			err = s.announce(ctx)
		case in := <-s.session.PacketIns():
			err = s.hear(ctx, in)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Speaker) current() face {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.face
}

// announce tells all clients about all VIPs.
func (s *Speaker) announce(ctx context.Context) error {
	f := s.current()
	ports := f.audience(s.session.Ports())
	if len(ports) == 0 {
		return nil
	}
	for _, vip := range f.vips {
		frames, err := announcements(f.mac, vip)
		if err != nil {
			return fmt.Errorf("announce %v: %w", vip, err)
		}
		for _, frame := range frames {
			if err := s.session.Send(ctx, frame, ports...); err != nil {
				return fmt.Errorf("announce %v: %w", vip, err)
			}
		}
	}
	return nil
}

// audience are the ports where clients may be.
func (f face) audience(ports []Port) []uint32 {
	var numbers []uint32
	for _, p := range ports {
		if !slices.Contains(f.hidden, p.Name) {
			numbers = append(numbers, p.Number)
		}
	}
	return numbers
}

// hear answers a packet if it is a solicitation for a VIP.
func (s *Speaker) hear(ctx context.Context, in PacketIn) error {
	if !s.limit(in.InPort).Allow() {
		s.count(NDRateLimited)
		return nil
	}
	f := s.current()
	answer, reason := answerND(in.Frame, f.mac, f.vips)
	if reason != NDAnswered {
		s.count(reason)
		return nil
	}
	if err := s.session.Send(ctx, answer, in.InPort); err != nil {
		s.count(NDUnsent)
		return fmt.Errorf("answer neighbour solicitation: %w", err)
	}
	s.count(NDAnswered)
	return nil
}

func (s *Speaker) limit(port uint32) *rate.Limiter {
	if _, known := s.limits[port]; !known && len(s.limits) >= maxLimits {
		port = portAny
	}
	limit, ok := s.limits[port]
	if !ok {
		limit = rate.NewLimiter(answersPerSecond, answerBurst)
		s.limits[port] = limit
	}
	return limit
}

func (s *Speaker) count(reason NDReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[reason]++
}

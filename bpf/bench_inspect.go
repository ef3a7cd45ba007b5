// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net/netip"

	"github.com/onevip/onevip/topology"
)

// The other members, who are not there: one owns all that is asked for, and is the
// inspector of what is handed to us; one is the guard of all slots.
const (
	benchOther topology.NodeID = benchSelf + 1
	benchGuard topology.NodeID = benchSelf + 2
)

var (
	benchOtherMAC = topology.MAC{0x02, 0, 0x5e, 0, 2, 2}
	benchGuardMAC = topology.MAC{0x02, 0, 0x5e, 0, 2, 3}
	benchRequest  = []byte("GET /files/cat.jpg HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench\r\n\r\n")
)

// inspectSamples are of the packets of services whose requests are looked at.
type inspectSamples struct{ undecided, inspected, followed, handed []sample }

// inspectRound makes n connections whose requests this node inspects, and n that another
// does.
func (b *benchmark) inspectRound(first, n int, out *inspectSamples) (err error) {
	homes := make([]topology.NodeID, topology.SlotCount)
	for i := range homes {
		homes[i] = benchOther
	}
	err = errors.Join(
		b.setInspecting(), b.setNodes(2), b.f.SetSourceHash(benchService, homes), b.setRoles(benchSelf, benchGuard),
		b.f.SetMembers(map[topology.NodeID]topology.MAC{benchOther: benchOtherMAC, benchGuard: benchGuardMAC}),
	)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, b.setPlain(), b.setNodes(1), b.setPrimary(benchSelf))
	}()
	flows, err := b.greet(0x2000+first, n)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		frame func(benchFlow) ([]byte, error)
		to    *[]sample
		want  []Reason
	}{
		{func(f benchFlow) ([]byte, error) { return f.segment(0) }, &out.undecided, []Reason{ReasonUndecided}},
		{func(f benchFlow) ([]byte, error) { return f.says(benchRequest) }, &out.inspected, []Reason{ReasonHandedOver}},
		{benchFlow.follower, &out.followed, []Reason{ReasonFollowed, ReasonCookieMismatch}}, // that, if we are too slow
	} {
		if err := b.timeEach(flows, step.frame, step.to, step.want...); err != nil {
			return err
		}
	}
	return b.handedRound(first, n, out)
}

func (b *benchmark) setInspecting() error { return b.setPolicy(topology.Locality) }

// setPlain leaves nothing of a service that looked at requests.
func (b *benchmark) setPlain() error {
	b.f.mu.Lock()
	b.f.config.Inspects = 0
	b.f.mu.Unlock()
	return b.setPolicy(topology.LeastConnection)
}

// handedRound has another answer the SYNs, and hand its requests to this node.
func (b *benchmark) handedRound(first, n int, out *inspectSamples) error {
	if err := errors.Join(b.f.SetSelf(Self{ID: benchOther, WindowScale: 7}), b.setPrimary(benchOther)); err != nil {
		return err
	}
	flows, err := b.greet(0x4000+first, n)
	err = errors.Join(err, b.f.SetSelf(Self{ID: benchSelf, WindowScale: 7}))
	if err != nil {
		return err
	}
	return b.timeEach(flows, benchFlow.handed, &out.handed, ReasonAdoptedHanded)
}

// greet sends SYNs, and gives their connections.
func (b *benchmark) greet(first, n int) (flows []benchFlow, err error) {
	var syns [][]byte
	for i := range n {
		if syns, err = appendFrame(syns, nthFlow(0, first+i).syn); err != nil {
			return nil, err
		}
	}
	from, to := nthFlow(0, first).client, nthFlow(0, first+n).client
	_, err = b.compare(syns, func(f benchFlow) bool {
		if !isAmong(from, f.client, to) {
			return false
		}
		flows = append(flows, f)
		return true
	}, ReasonAnswered)
	return flows, err
}

// isAmong tells whether the client is from the first on and before the last.
func isAmong(from, client, to netip.AddrPort) bool {
	return client.Addr() == from.Addr() && client.Port() >= from.Port() && client.Port() < to.Port()
}

// timeEach sends one frame of each connection.
func (b *benchmark) timeEach(flows []benchFlow, frame func(benchFlow) ([]byte, error), to *[]sample, want ...Reason) error {
	var frames [][]byte
	for _, f := range flows {
		var err error
		if frames, err = appendFrame(frames, func() ([]byte, error) { return frame(f) }); err != nil {
			return err
		}
	}
	s, err := b.compare(frames, nil, want...)
	*to = append(*to, s)
	return err
}

// follower is what a client sends behind its request before it is answered.
func (b benchFlow) follower() ([]byte, error) {
	b.seq += uint32(len(benchRequest))
	return b.segment(100)
}

// handed is the request as its inspector hands it over.
func (b benchFlow) handed() ([]byte, error) {
	frame, err := b.carrying(0x8000|uint16(benchSelf)<<6, benchRequest)
	copy(frame, benchNodeMAC)
	copy(frame[6:], benchOtherMAC[:])
	return frame, err
}

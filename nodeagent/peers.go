// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"time"

	"github.com/onevip/onevip/topology"
)

// peers is what this node knows of the others by their heartbeats.
type peers struct {
	self        topology.NodeID
	incarnation uint64
	known       map[topology.NodeID]*peer
}

// peer is one other node, in the newest incarnation heard.
type peer struct {
	incarnation uint64
	heard       time.Time
	sequence    uint64 // of the last frame taken
	services    map[topology.ServiceID]*report
}

// report is what a node said last of one service.
type report struct {
	heard         time.Time // zero: its agent took leave
	healthy, full bool
	active        uint32
	adopted       uint64 // of what this node had assigned
}

// roster says which heartbeats may be taken: the members, each with the
// incarnation that the store knows (0: none), and the services there are.
type roster struct {
	members  map[topology.NodeID]uint64
	services map[topology.ServiceID]bool
}

func newPeers(incarnation uint64) *peers {
	return &peers{incarnation: incarnation, known: map[topology.NodeID]*peer{}}
}

// become tells who this node is. Adoptions reported for another id are void.
func (p *peers) become(self topology.NodeID) {
	if p.self == self {
		return
	}
	p.self = self
	clear(p.known)
}

// take files an authentic heartbeat, or says why not.
func (p *peers) take(now time.Time, h heartbeat, r roster) refusal {
	if h.Node == p.self {
		if h.Incarnation == p.incarnation {
			return refusedOwn
		}
		return refusedSameID
	}
	boot, member := r.members[h.Node]
	if !member {
		return refusedUnknown
	}
	if boot != 0 && boot != h.Incarnation {
		return refusedIncarnation
	}
	from := p.known[h.Node]
	if from == nil || from.incarnation != h.Incarnation {
		from = &peer{incarnation: h.Incarnation, services: map[topology.ServiceID]*report{}}
		p.known[h.Node] = from
	} else if h.Sequence <= from.sequence {
		return refusedReplay
	}
	from.heard, from.sequence = now, h.Sequence
	from.file(now, h, p.self, r)
	return accepted
}

// expect makes a node known that must be sending heartbeats, so that its silence
// is noticed although it was never heard.
func (p *peers) expect(now time.Time, id topology.NodeID, incarnation uint64) {
	if p.known[id] == nil && id != p.self {
		p.known[id] = &peer{incarnation: incarnation, heard: now, services: map[topology.ServiceID]*report{}}
	}
}

// file keeps what the heartbeat says of the services that this node knows.
func (f *peer) file(now time.Time, h heartbeat, self topology.NodeID, r roster) {
	if h.Leaving {
		for _, rep := range f.services {
			rep.heard = time.Time{}
		}
		return
	}
	for _, s := range h.Services {
		if !r.services[s.Service] {
			continue
		}
		rep := f.services[s.Service]
		if rep == nil {
			rep = &report{}
			f.services[s.Service] = rep
		}
		rep.heard, rep.healthy, rep.full, rep.active = now, s.Healthy, s.Full, s.Active
		for _, a := range s.Adopted {
			if a.Primary == self {
				rep.adopted = a.Total
			}
		}
	}
}

// of gives the report of a node about a service, if there is one, and the
// incarnation that it is from.
func (p *peers) of(id topology.NodeID, service topology.ServiceID) (report, uint64, bool) {
	from := p.known[id]
	if from == nil || from.services[service] == nil {
		return report{}, 0, false
	}
	return *from.services[service], from.incarnation, true
}

// keep forgets nodes and services that are not in the cluster any more.
func (p *peers) keep(r roster) {
	for id, from := range p.known {
		if _, member := r.members[id]; !member {
			delete(p.known, id)
			continue
		}
		for service := range from.services {
			if !r.services[service] {
				delete(from.services, service)
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/topology"
)

// planner makes steps of a kind. It looks and does nothing.
type planner struct {
	*Running
	macs func(Host) ([]topology.MAC, error) // of a host's interfaces
}

// crash cuts the host off before anything of it dies: what its kernel says of
// the dying connections must not leave. Coming frames are dropped at the far
// ends, before any program of the host sees them. The carrier stays.
func (p planner) crash(h Host, _ FaultOptions) ([]step, error) {
	steps := []step{{Op: opBoot, Host: h.Name}}
	for _, end := range p.ends(h.Name) {
		steps = append(steps, dropStep(end.near, drop{Loss: 1}), dropStep(end.far, drop{Loss: 1}))
	}
	return append(steps, step{Op: opDie, Host: h.Name}), nil
}

func (p planner) hang(h Host, _ FaultOptions) ([]step, error) {
	return []step{{Op: opStop, Host: h.Name}}, nil
}

// linkDown takes the far end down: the near one loses its carrier and nothing
// else, where an interface that is taken down would lose addresses and routes.
func (p planner) linkDown(h Host, o FaultOptions) ([]step, error) {
	end, err := p.end(h, o.Link)
	return []step{{Op: opDown, Host: end.far.Node, Link: end.far.Interface}}, err
}

// partition drops, on the last cable to each host, the frames that come from
// the other one: broadcasts still reach everybody else.
func (p planner) partition(h Host, o FaultOptions) ([]step, error) {
	peers, err := p.peers(h, o.From)
	if err != nil {
		return nil, err
	}
	own, err := p.macs(h)
	if err != nil {
		return nil, err
	}
	var foreign []topology.MAC
	var steps []step
	for _, peer := range peers {
		macs, err := p.macs(peer)
		if err != nil {
			return nil, err
		}
		foreign = append(foreign, macs...)
		for _, end := range p.ends(peer.Name) {
			steps = append(steps, dropStep(end.far, drop{Loss: 1, Sources: own}))
		}
	}
	for _, end := range p.ends(h.Name) {
		steps = append(steps, dropStep(end.far, drop{Loss: 1, Sources: foreign}))
	}
	return steps, nil
}

// peers are the hosts on the other side of a partition.
func (p planner) peers(h Host, from string) ([]Host, error) {
	if from == "" {
		return nil, errors.New("partition from whom? Write --from with a host, or with a role such as controller")
	}
	peers := p.Labelled(roleLabel, from)
	if len(peers) == 0 {
		peer, err := p.Host(from)
		if err != nil {
			return nil, err
		}
		peers = []Host{peer}
	}
	if slices.ContainsFunc(peers, func(peer Host) bool { return peer.Name == h.Name }) {
		return nil, fmt.Errorf("host %s can't be parted from itself", h.Name)
	}
	return peers, nil
}

func (p planner) slow(h Host, o FaultOptions) ([]step, error) {
	end, err := p.end(h, o.Link)
	s := step{Op: opDelay, Host: end.near.Node, Link: end.near.Interface, Delay: o.Delay}
	if s.Delay == 0 {
		s.Delay = DefaultDelay
	}
	return []step{s}, err
}

// shuffle takes the share of frames that come twice from where loss has that of
// the lost ones.
func (p planner) shuffle(h Host, o FaultOptions) ([]step, error) {
	end, err := p.end(h, o.Link)
	s := step{Op: opDelay, Host: end.near.Node, Link: end.near.Interface, Delay: o.Delay, Twice: o.share()}
	if s.Delay == 0 {
		s.Delay = DefaultShuffle
	}
	return []step{s}, err
}

func (p planner) loss(h Host, o FaultOptions) ([]step, error) {
	end, err := p.end(h, o.Link)
	return []step{dropStep(end.near, drop{Loss: o.share()})}, err
}

// copyLoss leaves group frames alone, heartbeats among them: the switch rewrites
// each copy of the flood to the host's own address.
func (p planner) copyLoss(h Host, o FaultOptions) ([]step, error) {
	end, err := p.end(h, o.Link)
	return []step{dropStep(end.far, drop{Loss: o.share(), Unicast: true})}, err
}

func (o FaultOptions) share() float64 {
	if o.Loss == 0 {
		return DefaultLoss
	}
	return o.Loss
}

func killPart(part string) func(planner, Host, FaultOptions) ([]step, error) {
	return func(p planner, h Host, _ FaultOptions) ([]step, error) {
		return []step{{Op: opKill, Host: h.Name, Part: part}}, p.checkPart(h, part)
	}
}

func pausePart(part string) func(planner, Host, FaultOptions) ([]step, error) {
	return func(p planner, h Host, _ FaultOptions) ([]step, error) {
		return []step{{Op: opPause, Host: h.Name, Part: part}}, p.checkPart(h, part)
	}
}

// cable is a link as one of its hosts sees it.
type cable struct{ near, far topology.LabEndpoint }

// ends are the links of a host, in the order of the lab's file.
func (r *Running) ends(host string) []cable {
	var found []cable
	for _, l := range r.Links {
		if l.A.Node == host {
			found = append(found, cable{l.A, l.B})
		}
		if l.B.Node == host {
			found = append(found, cable{l.B, l.A})
		}
	}
	return found
}

// end is one link of a host; the first, if link is empty.
func (r *Running) end(h Host, link string) (cable, error) {
	ends := r.ends(h.Name)
	names := make([]string, len(ends))
	for i, end := range ends {
		if link == "" || end.near.Interface == link {
			return end, nil
		}
		names[i] = end.near.Interface
	}
	if len(ends) == 0 {
		return cable{}, fmt.Errorf("host %s has no link", h.Name)
	}
	return cable{}, fmt.Errorf("host %s has no link %q; write one of: %s", h.Name, link, strings.Join(names, ", "))
}

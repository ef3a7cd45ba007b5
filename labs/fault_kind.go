// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/topology"
)

// FaultKind is a word for what can be done to a host.
type FaultKind string

// The kinds of faults.
const (
	Crash          FaultKind = "crash"
	Reboot         FaultKind = "reboot"
	Hang           FaultKind = "hang"
	LinkDown       FaultKind = "link-down"
	Partition      FaultKind = "partition"
	Slow           FaultKind = "slow"
	Loss           FaultKind = "loss"
	CopyLoss       FaultKind = "copy-loss"
	AgentKill      FaultKind = "agent-kill"
	ControllerKill FaultKind = "controller-kill"
	EtcdKill       FaultKind = "etcd-kill"
	EtcdPause      FaultKind = "etcd-pause"
	OVSRestart     FaultKind = "ovs-restart"
)

// kindRow is what there is to know about a kind.
type kindRow struct {
	kind      FaultKind
	brief     string
	momentary bool   // heals at once, unless For says how long it lasts
	alone     bool   // not together with other faults of the host
	takes     string // the options that it understands
	plan      func(planner, Host, FaultOptions) ([]step, error)
}

var kindRows = []kindRow{
	{Crash, "the power fails: nothing leaves the host any more, not even a RST; heal boots it", false, true, "", planner.crash},
	{Reboot, "crash, and boot again at once", true, true, "", planner.crash},
	{Hang, "all processes stop (SIGSTOP); the kernel lives", false, false, "", planner.hang},
	{LinkDown, "the carrier is lost, at the switch's port too", false, false, "link", planner.linkDown},
	{Partition, "no frame comes through between the host and --from", false, false, "from", planner.partition},
	{Slow, "what the host sends is late by --delay", false, false, "link delay", planner.slow},
	{Loss, "of what the host sends, a share of --loss is lost", false, false, "link loss", planner.loss},
	{CopyLoss, "of the flood's copies for the host, a share of --loss is lost", false, false, "link loss", planner.copyLoss},
	{AgentKill, "the agent alone is killed, and kept from starting", false, false, "", killPart("agent")},
	{ControllerKill, "the controller is killed, with the etcd inside of it", false, false, "", killPart("controller")},
	{EtcdKill, "an etcd of its own is killed", false, false, "", killPart("etcd")},
	{EtcdPause, "an etcd of its own is stopped (SIGSTOP)", false, false, "", pausePart("etcd")},
	{OVSRestart, "Open vSwitch is killed, and started again at once with its database", true, false, "", killPart("ovs")},
}

// FaultInfo describes a kind for those who choose one.
type FaultInfo struct {
	Kind  FaultKind
	Brief string
}

// FaultKinds lists the kinds of faults.
func FaultKinds() []FaultInfo {
	infos := make([]FaultInfo, len(kindRows))
	for i, row := range kindRows {
		infos[i] = FaultInfo{row.kind, row.brief}
	}
	return infos
}

func kindOf(kind FaultKind) (kindRow, error) {
	i := slices.IndexFunc(kindRows, func(row kindRow) bool { return row.kind == kind })
	if i >= 0 {
		return kindRows[i], nil
	}
	names := make([]string, len(kindRows))
	for i, row := range kindRows {
		names[i] = string(row.kind)
	}
	return kindRow{}, fmt.Errorf("there is no fault %q; write one of: %s", kind, strings.Join(names, ", "))
}

// refuse says which option the kind has no use for, or is out of range.
func (k kindRow) refuse(o FaultOptions) error {
	given := map[string]bool{"from": o.From != "", "link": o.Link != "", "delay": o.Delay != 0, "loss": o.Loss != 0}
	for _, name := range []string{"from", "link", "delay", "loss"} {
		if given[name] && !slices.Contains(strings.Fields(k.takes), name) {
			return fmt.Errorf("fault %s has no use for --%s", k.kind, name)
		}
	}
	switch {
	case o.Loss < 0 || o.Loss > 1:
		return fmt.Errorf("a loss of %g is no share of frames; write one above 0 and up to 1", o.Loss)
	case o.Delay < 0 || o.For < 0:
		return fmt.Errorf("a fault takes no negative time")
	}
	return nil
}

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
		return nil, fmt.Errorf("partition from whom? Write --from with a host, or with a role such as controller")
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

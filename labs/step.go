// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/onevip/onevip/topology"
)

// op names what a step does. The names are stored.
type op string

const (
	opBoot  op = "boot"  // nothing; undone by starting what the host runs
	opDie   op = "die"   // kill all processes; undone by a new namespace
	opStop  op = "stop"  // stop all processes
	opDown  op = "down"  // take an interface down
	opDrop  op = "drop"  // drop leaving frames
	opDelay op = "delay" // hold leaving frames back
	opKill  op = "kill"  // kill a part, and hold it down
	opPause op = "pause" // stop a part
)

// step is one thing that a fault does to a host, with all that is needed to
// undo it. Undoing what was never done, or is undone already, is fine.
type step struct {
	ID    int           `json:"id"` // of the fault
	Op    op            `json:"op"`
	Host  string        `json:"host"`
	Link  string        `json:"link,omitempty"`
	Drop  drop          `json:"drop,omitzero"`
	Delay time.Duration `json:"delay,omitempty"` // nanoseconds
	Twice float64       `json:"twice,omitempty"` // of delayed frames; above 0 the delay is a random part of Delay
	Part  string        `json:"part,omitempty"`
}

func dropStep(at topology.LabEndpoint, d drop) step {
	return step{Op: opDrop, Host: at.Node, Link: at.Interface, Drop: d}
}

// deed is how a step is done and undone. The host is the lab's own record of
// it, so that a new process can be written down.
type deed struct {
	do, undo func(*Running, *Host, step) error
}

var deeds = map[op]deed{
	opBoot:  {doNothing, startHost},
	opDie:   {killHost, renewHost},
	opStop:  {stopHost, continueHost},
	opDown:  {takeDown, bringUp},
	opDrop:  {addDrop, removeFilter},
	opDelay: {addDelay, removeDelay},
	opKill:  {killHeld, startHeld},
	opPause: {pausePartOf, resumePart},
}

func (s step) do(r *Running) error {
	d, h, err := s.find(r)
	if err == nil {
		err = d.do(r, h, s)
	}
	return s.wrap(err)
}

func (s step) undo(r *Running) error {
	d, h, err := s.find(r)
	if err == nil {
		err = d.undo(r, h, s)
	}
	return s.wrap(err)
}

// find gives what the step does, and the lab's own record of its host.
func (s step) find(r *Running) (deed, *Host, error) {
	d, known := deeds[s.Op]
	if !known {
		return d, nil, errors.New("this step is of another version; take the lab down")
	}
	for i := range r.Hosts {
		if r.Hosts[i].Name == s.Host {
			return d, &r.Hosts[i], nil
		}
	}
	return d, nil, errors.New("there is no such host")
}

func (s step) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("step %s, host %s: %w", s.Op, s.Host, err)
	}
	return nil
}

func doNothing(*Running, *Host, step) error { return nil }

// takeDown and bringUp are for the far end of a host's link.
func takeDown(_ *Running, h *Host, s step) error { return h.setLink(s.Link, netlink.LinkSetDown) }

func bringUp(_ *Running, h *Host, s step) error { return h.setLink(s.Link, netlink.LinkSetUp) }

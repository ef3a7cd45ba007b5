// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// ids are the ids in use and those that rest.
type ids struct {
	nodes    map[topology.NodeID]bool    // given to a member of this decision
	services map[topology.ServiceID]bool // given to a service of this decision
	resting  state.IDs                   // a copy of the stored record, changed by this decision
}

func takeIDs(view state.View) ids {
	found := ids{nodes: map[topology.NodeID]bool{}, services: map[topology.ServiceID]bool{}}
	found.resting = state.IDs{
		Schema:   state.Schema,
		Nodes:    map[topology.NodeName]state.RestingNode{},
		Services: map[topology.ServiceName]state.RestingService{},
		Failed:   map[topology.NodeID]state.RestingFailed{},
	}
	if view.IDs != nil {
		maps.Copy(found.resting.Failed, view.IDs.Failed)
		found.resting.FailureEpoch = view.IDs.FailureEpoch
		maps.Copy(found.resting.Nodes, view.IDs.Nodes)
		maps.Copy(found.resting.Services, view.IDs.Services)
	}
	return found
}

// keepNode gives a node the id it has, unless another has it already.
func (i *ids) keepNode(id topology.NodeID) bool {
	if !id.Valid() || i.nodes[id] {
		return false
	}
	i.nodes[id] = true
	return true
}

// newNode gives a node its resting id back, or one that is free.
func (i *ids) newNode(name topology.NodeName) (topology.NodeID, bool) {
	if old, rests := i.resting.Nodes[name]; rests {
		delete(i.resting.Nodes, name)
		if i.keepNode(old.ID) {
			return old.ID, true
		}
	}
	return i.freeNode()
}

// freeNode gives an id that nobody has and that does not rest: the next after the
// highest of those, and after the last the first. So one comes round again as late as
// can be, for a node that nobody reaches may still go by its bearer's death. It
// fails when there is none.
func (i *ids) freeNode() (topology.NodeID, bool) {
	resting := map[topology.NodeID]bool{}
	highest := topology.Undecided
	for _, r := range i.resting.Nodes {
		resting[r.ID] = true
		highest = max(highest, r.ID)
	}
	for id := range i.resting.Failed {
		resting[id] = true
		highest = max(highest, id)
	}
	for id := range i.nodes {
		highest = max(highest, id)
	}
	for step := range int(topology.MaxNodeID) {
		id := topology.NodeID((int(highest)+step)%int(topology.MaxNodeID) + 1)
		if !resting[id] && i.keepNode(id) {
			return id, true
		}
	}
	return topology.Undecided, false
}

func (i *ids) keepService(id topology.ServiceID) bool {
	if i.services[id] {
		return false
	}
	i.services[id] = true
	return true
}

// newService is newNode for services. There are more ids than an operator can
// write services.
func (i *ids) newService(name topology.ServiceName) topology.ServiceID {
	if old, rests := i.resting.Services[name]; rests {
		delete(i.resting.Services, name)
		if i.keepService(old.ID) {
			return old.ID
		}
	}
	resting := map[topology.ServiceID]bool{}
	for _, r := range i.resting.Services {
		resting[r.ID] = true
	}
	id := topology.ServiceID(0)
	for resting[id] || !i.keepService(id) {
		id++
	}
	return id
}

// restingIDs ends the rest of those that rested long enough, and writes what
// changed.
func (d *decider) restingIDs() {
	r := &d.ids.resting
	for name, resting := range r.Nodes {
		if d.rested(resting.Since) {
			delete(r.Nodes, name)
		}
	}
	for name, resting := range r.Services {
		if d.rested(resting.Since) {
			delete(r.Services, name)
		}
	}
	for id, resting := range r.Failed {
		if d.rested(resting.Since) {
			delete(r.Failed, id)
		}
	}
	r.FailureEpoch = d.epoch
	before := takeIDs(d.View).resting
	if !reflect.DeepEqual(before, *r) {
		d.put(*r)
	}
}

func (d *decider) rested(since time.Time) bool {
	end := since.Add(d.rest())
	if d.Now.Before(end) {
		d.wake(end)
		return false
	}
	return true
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"github.com/onevip/onevip/topology"
)

// SetLoads installs the nodes that may be picked for a service, in the order in
// which ties are broken. None: SYNs for it stay unanswered (no_node).
func (f *Filter) SetLoads(service topology.ServiceID, nodes []Load) error {
	var table onevipOvLoads
	if len(nodes) > len(table.Nodes) {
		return fmt.Errorf("%d nodes: at most %d can be picked", len(nodes), len(table.Nodes))
	}
	for i, n := range nodes {
		if !n.Node.Valid() || n.Weight == 0 {
			return fmt.Errorf("load %d: node %d with weight %d: want 1..%d and at least 1", i, n.Node, n.Weight, topology.MaxNodeID)
		}
		table.Place[n.Node] = uint8(i)
		table.Nodes[i] = onevipOvLoad{
			Settled: n.Settled, Base: n.Base, Active: n.Active, Weight: n.Weight, Node: uint8(n.Node),
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var old onevipOvLoads
	if err := f.objs.Loads.Lookup(uint32(service), &old); err != nil {
		return fmt.Errorf("read loads of service %d: %w", service, err)
	}
	table.Count, table.Generation = uint64(len(nodes)), old.Generation+1
	if err := f.objs.Loads.Put(uint32(service), &table); err != nil {
		return fmt.Errorf("write loads of service %d: %w", service, err)
	}
	return nil
}

// SetSourceHash installs the table of policy source-hash, or the homes of a policy that
// inspects. Index: scheduler.SourceBucket of the client, or the low bits of a key's hash;
// len(table) is topology.SlotCount.
func (f *Filter) SetSourceHash(service topology.ServiceID, table []topology.NodeID) error {
	var out onevipOvSourceHash
	if len(table) != len(out.Node) {
		return fmt.Errorf("source-hash table has %d entries, want %d", len(table), len(out.Node))
	}
	for i, id := range table {
		out.Node[i] = uint8(id)
	}
	if err := f.objs.SourceHash.Put(uint32(service), &out); err != nil {
		return fmt.Errorf("write source-hash table of service %d: %w", service, err)
	}
	return nil
}

// SetMembers tells where the nodes are: copies of SYNs and what is handed over go to their
// MAC, and from that alone comes what they hand over or tell.
func (f *Filter) SetMembers(members map[topology.NodeID]topology.MAC) error {
	for id := topology.NodeID(1); id <= topology.MaxNodeID; id++ {
		var m onevipOvMember
		if mac, ok := members[id]; ok && !mac.IsZero() {
			m = onevipOvMember{Mac: mac, Known: 1}
		}
		if err := f.objs.Members.Put(uint32(id), &m); err != nil {
			return fmt.Errorf("write member %d: %w", id, err)
		}
	}
	return nil
}

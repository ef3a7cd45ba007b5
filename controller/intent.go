// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// observed are the ports of the switches that are connected.
type observed map[topology.SwitchName][]ovs.Port

// intentFor says what a switch shall do. It is ready once a member has been
// seen: an empty flood would only take away what a switch still does.
func intentFor(config topology.Cluster, view state.View, trunks []string, name topology.SwitchName) (intent ovs.Intent, ready bool) {
	intent = ovs.Intent{
		ClusterMAC: config.MAC,
		VIPs:       vipsOf(config.Services),
		Members:    membersAt(view, name, false),
		Trunks:     trunks,
		Mirror:     config.Speculation.Mirror && config.Speculation.Delay != topology.Never,
		Fenced:     membersAt(view, name, true),
	}
	return intent, len(intent.Members) > 0 || len(intent.Fenced) > 0
}

// vipsOf lists each address once, sorted.
func vipsOf(services []topology.Service) []netip.Addr {
	var vips []netip.Addr
	for _, service := range services {
		vips = append(vips, service.VIPs...)
	}
	slices.SortFunc(vips, netip.Addr.Compare)
	return slices.Compact(vips)
}

// membersAt lists the nodes that get packets, or those that are fenced, by id. A
// lost node gets packets: its agent is gone, its programs and its connections may
// well live.
func membersAt(view state.View, name topology.SwitchName, fenced bool) []ovs.Member {
	var members []ovs.Member
	for _, node := range view.Nodes {
		if node.State == state.NodeExpected || node.MAC.IsZero() && !fenced || (node.State == state.NodeFailed) != fenced {
			continue
		}
		member := ovs.Member{ID: node.ID, Name: node.Name, MAC: node.MAC}
		if node.Switch == name {
			member.Port = node.Port
		}
		members = append(members, member)
	}
	slices.SortFunc(members, func(a, b ovs.Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

// trunksFor computes the flood tree over the links that work, and falls back to
// all links when those do not join all switches: a link seen from one end only
// may be seen wrong. The error is one of the configuration.
func trunksFor(config topology.Cluster, ports observed) (topology.Tree, error) {
	if len(config.Switches) == 0 {
		return topology.Tree{}, nil
	}
	root := slices.MinFunc(config.Switches, func(a, b topology.Switch) int { return cmp.Compare(a.Name, b.Name) }).Name
	var working []topology.Link
	for _, link := range config.Links {
		if ports.works(link.A) && ports.works(link.B) {
			working = append(working, link)
		}
	}
	if tree, err := topology.FloodTree(config.Switches, working, root); err == nil {
		return tree, nil
	}
	return topology.FloodTree(config.Switches, config.Links, root)
}

// works tells whether one end of a link is up, or not known to be down.
func (o observed) works(end topology.Endpoint) bool {
	ports, connected := o[end.Switch]
	if !connected {
		return true
	}
	i := slices.IndexFunc(ports, func(p ovs.Port) bool { return p.Name == end.Port })
	return i >= 0 && ports[i].Up
}

// portsOf lists the ports that a switch needs: nodes, links and uplinks.
func portsOf(config topology.Cluster, sw topology.Switch) []string {
	ports := slices.Clone(sw.Uplinks)
	for _, node := range config.Nodes {
		if node.Switch == sw.Name {
			ports = append(ports, node.Port)
		}
	}
	for _, link := range config.Links {
		for _, end := range []topology.Endpoint{link.A, link.B} {
			if end.Switch == sw.Name {
				ports = append(ports, end.Port)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// generation is the OpenFlow generation id of a term. Switches refuse one that is
// older than what they have seen, so it must grow even when the store lost its
// data and counts from 1 again.
func generation(cluster state.Cluster, term uint64) uint64 {
	return uint64(cluster.Created.Unix())<<32 + term
}

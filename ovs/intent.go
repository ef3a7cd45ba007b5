// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"net/netip"
	"slices"

	"github.com/onevip/onevip/topology"
)

// Intent is what one switch shall do for the cluster.
type Intent struct {
	// ClusterMAC is the answer to ARP and neighbour solicitations for a VIP.
	ClusterMAC topology.MAC
	// VIPs, IPv4 and IPv6, never v4-mapped.
	VIPs []netip.Addr
	// Members are the cluster's nodes, those of other switches too.
	Members []Member
	// Trunks are the ports towards other switches of the cluster. What comes
	// from there was checked by the switch that let it in.
	Trunks []string
	// Mirror has the members see each SYN/ACK that a VIP sends, besides the
	// client that it is for.
	Mirror bool
	// Fenced are failed nodes, those of other switches too. A node that is fenced
	// is no member, whatever Members says.
	Fenced []Member
}

// isFenced tells whether a node is one of the fenced, or has the MAC or the port
// of one.
func (i Intent) isFenced(m Member) bool {
	return slices.ContainsFunc(i.Fenced, func(f Member) bool {
		return f == m || f.MAC == m.MAC && !m.MAC.IsZero() || f.Port == m.Port && m.Port != ""
	})
}

// Member is a node that gets every packet for a VIP, or, fenced, none. It is left
// out of the flood while its MAC is zero, or its Port is empty or not on the
// bridge.
type Member struct {
	ID   topology.NodeID
	Name topology.NodeName
	Port string // on this switch; empty: the node is behind a trunk
	MAC  topology.MAC
}

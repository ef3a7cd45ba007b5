// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"net/netip"
	"slices"
)

// Priorities of Cluster.
const (
	clusterForward uint16 = 900
	clusterFlood   uint16 = 800
	clusterMirror  uint16 = 700
)

// cluster gives packets for a VIP to all members, but for those that one member
// sends to another, and copies of what says that a SYN was answered.
func (b *builder) cluster() {
	b.groups()
	for _, vip := range b.vips {
		b.forward(vip)
		b.add(Flow{
			Table: Cluster, Priority: clusterFlood,
			Cookie:  newCookie(KindFlood, vip, 0),
			Match:   newMatch(toVIP(vip)...),
			Actions: []Action{ToGroup{GroupFlood}},
		})
	}
	b.mirror()
	b.otherwise(Cluster)
}

// forward delivers what a member addressed to another member's MAC. From
// outside the MAC does not matter: a client can't choose its server.
func (b *builder) forward(vip netip.Addr) {
	for _, m := range b.members {
		b.add(Flow{
			Table: Cluster, Priority: clusterForward,
			Cookie:  newCookie(KindForward, vip, m.ID),
			Match:   newMatch(append(toVIP(vip), fromInside(), fieldMAC(FieldEthDst, m.MAC))...),
			Actions: []Action{Output{m.port}},
		})
	}
	for _, m := range b.remote {
		b.add(Flow{
			Table: Cluster, Priority: clusterForward,
			Cookie: newCookie(KindForward, vip, m.ID),
			Match:  newMatch(append(toVIP(vip), fromInside(), fieldMAC(FieldEthDst, m.MAC))...),
			Goto:   Normal,
		})
	}
}

// fromInside matches what a member or another switch sent.
func fromInside() Field { return fieldBits(FieldReg0, inside, inside) }

// groups makes the two floods. Copies to other switches carry the cluster MAC,
// whatever the client wrote there: they must not look like one for a member.
func (b *builder) groups() {
	var flood, members []Bucket
	for _, m := range b.members {
		flood = append(flood, rewriteTo(m.port, fieldMAC(FieldEthDst, m.MAC)))
	}
	for _, m := range b.nodes {
		members = append(members, Bucket{[]Action{Output{m.port}}})
	}
	for _, trunk := range b.trunks {
		flood = append(flood, rewriteTo(trunk, fieldMAC(FieldEthDst, b.mac)))
		members = append(members, Bucket{[]Action{Output{trunk}}})
	}
	b.pipeline.Groups = slices.Concat(b.pipeline.Groups, []Group{
		{ID: GroupFlood, Buckets: flood},
		{ID: GroupMembers, Buckets: members},
	})
}

func rewriteTo(port uint32, dst Field) Bucket {
	return Bucket{[]Action{SetField{dst}, Output{port}}}
}

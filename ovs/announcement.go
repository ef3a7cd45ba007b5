// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// announcements are the frames that tell neighbours and the switches between
// where a VIP is: gratuitous ARP as request and as reply (some listen to one
// only; RFC 5227, section 3), and an unsolicited neighbour advertisement (RFC
// 4861, section 7.2.6).
func announcements(mac topology.MAC, vip netip.Addr) ([][]byte, error) {
	if vip.Is6() {
		frame, err := advertisement{mac: mac, vip: vip, to: allNodes, toMAC: multicastMAC(allNodes)}.frame()
		return [][]byte{frame}, err
	}
	request, err := gratuitousARP(mac, vip, arpRequest)
	if err != nil {
		return nil, err
	}
	reply, err := gratuitousARP(mac, vip, arpReply)
	return [][]byte{request, reply}, err
}

// gratuitousARP has the VIP as sender and target. The target's MAC is zero in a
// request and the sender's in a reply.
func gratuitousARP(mac topology.MAC, vip netip.Addr, op uint16) ([]byte, error) {
	var target topology.MAC
	if op == arpReply {
		target = mac
	}
	return serialise(
		&layers.Ethernet{SrcMAC: mac[:], DstMAC: broadcastMAC, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
			HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: mac[:], SourceProtAddress: vip.AsSlice(),
			DstHwAddress: target[:], DstProtAddress: vip.AsSlice(),
		},
	)
}

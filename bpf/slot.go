// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"

	"github.com/onevip/onevip/topology"
)

// SlotOf is the slot of a connection between two addresses of one IP version, as
// flow_hash and slot_of compute it in src/flow.h.
func SlotOf(client, vip netip.AddrPort) int {
	return int(flowHash(client, vip) % topology.SlotCount)
}

func flowHash(client, vip netip.AddrPort) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	addresses := append(client.Addr().AsSlice(), vip.Addr().AsSlice()...) // 8 bytes or 32
	for ; len(addresses) > 0; addresses = addresses[8:] {
		h = mix(h, binary.LittleEndian.Uint64(addresses))
	}
	var ports [8]byte
	binary.BigEndian.PutUint16(ports[0:], client.Port())
	binary.BigEndian.PutUint16(ports[2:], vip.Port())
	h = mix(h, binary.LittleEndian.Uint64(ports[:]))
	return mix(h, h>>29)
}

func mix(h, word uint64) uint64 {
	h = (h ^ word) * 0xff51afd7ed558ccd
	return h ^ h>>32
}

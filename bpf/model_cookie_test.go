// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/dchest/siphash"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// cookie is the Go twin of struct cookie: docs/formats/cookie.md in code,
// written from the page and not from the C.
type cookie struct {
	client, vip netip.AddrPort
	clientISN   uint32
	epoch       uint32
	owner       topology.NodeID
	mssIndex    uint8
	wscale      uint8 // 15: none
	sack, ecn   bool
	timestamps  bool
	inspect     bool // owner is the inspector
}

const noScale = 15

// mssTable is what an index stands for, in bytes.
var mssTable = []uint16{536, 1220, 1300, 1360, 1400, 1440, 1460, 8940}

// mssIndex is the last entry that does not exceed mss, or the first.
func mssIndex(mss uint16) uint8 {
	i, found := slices.BinarySearch(mssTable, mss)
	if !found {
		i--
	}
	return uint8(max(i, 0))
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (c cookie) optionBits() uint8 { return c.wscale | bit(c.sack)<<4 | bit(c.ecn)<<5 }

// mac is SipHash-2-4 over the fields in the page's order.
func (c cookie) mac(key [16]byte) uint64 {
	in := slices.Concat(c.client.Addr().AsSlice(), c.vip.Addr().AsSlice())
	in = binary.BigEndian.AppendUint16(in, c.client.Port())
	in = binary.BigEndian.AppendUint16(in, c.vip.Port())
	in = binary.LittleEndian.AppendUint32(in, c.clientISN)
	in = binary.LittleEndian.AppendUint32(in, c.epoch)
	in = append(in, byte(c.owner), c.mssIndex, c.optionBits(), bit(c.timestamps)|bit(c.inspect)<<1)
	k0, k1 := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])
	return siphash.Hash(k0, k1, in)
}

// isn is the sequence number of the SYN/ACK.
func (c cookie) isn(key [16]byte) uint32 {
	return uint32(c.owner)<<24 | uint32(c.mssIndex)<<21 | c.epoch&3<<19 | uint32(c.mac(key)&(1<<19-1))
}

// tsval is the timestamp of the SYN/ACK, if the client uses timestamps.
func (c cookie) tsval(key [16]byte) uint32 {
	return uint32(c.mac(key)>>19&(1<<26-1))<<6 | uint32(c.optionBits())
}

// offer is what a SYN says.
type offer struct {
	port       uint16
	isn        uint32
	mss        int // -1: none
	wscale     int // -1: none
	sack       bool
	timestamps bool
	tsval      uint32
	ece, cwr   bool
}

// syn is the SYN as Linux would order its options.
func (o offer) syn() layers.TCP {
	tcp := layers.TCP{Seq: o.isn, SYN: true, ECE: o.ece, CWR: o.cwr}
	if o.mss >= 0 {
		tcp.Options = append(tcp.Options, optionMSS(uint16(o.mss)))
	}
	if o.sack {
		tcp.Options = append(tcp.Options, optionSACK())
	}
	if o.timestamps {
		tcp.Options = append(tcp.Options, optionTimestamps(o.tsval, 0))
	}
	if o.wscale >= 0 {
		tcp.Options = append(tcp.Options, nop, optionScale(uint8(o.wscale)))
	}
	return tcp
}

// cookie is what a scheduler should make of the SYN.
func (o offer) cookie(f family, owner topology.NodeID, epoch uint32) cookie {
	return cookie{
		client: f.from(), vip: f.to(o.port), clientISN: o.isn, epoch: epoch, owner: owner,
		mssIndex: mssIndex(uint16(max(o.mss, 0))), wscale: o.scale(),
		sack: o.sack, ecn: o.ece && o.cwr, timestamps: o.timestamps,
	}
}

// synAck is the answer that the SYN should get: options in the kernel's order,
// each only if offered.
func (o offer) synAck(c cookie, key [16]byte, ownMSS uint16, ownScale uint8) layers.TCP {
	tcp := layers.TCP{Seq: c.isn(key), Ack: o.isn + 1, SYN: true, ACK: true, ECE: c.ecn, Window: 64240}
	tcp.Options = []layers.TCPOption{optionMSS(ownMSS)}
	switch {
	case o.timestamps && o.sack:
		tcp.Options = append(tcp.Options, optionSACK(), optionTimestamps(c.tsval(key), o.tsval))
	case o.timestamps:
		tcp.Options = append(tcp.Options, nop, nop, optionTimestamps(c.tsval(key), o.tsval))
	case o.sack:
		tcp.Options = append(tcp.Options, nop, nop, optionSACK())
	default:
		tcp.Options = append(tcp.Options, nop, nop, nop, nop)
	}
	if o.wscale >= 0 {
		tcp.Options = append(tcp.Options, nop, optionScale(ownScale))
	}
	return tcp
}

// ack finishes the handshake, as the client would.
func (c cookie) ack(key [16]byte) layers.TCP {
	tcp := layers.TCP{Seq: c.clientISN + 1, Ack: c.isn(key) + 1, ACK: true}
	if c.timestamps {
		tcp.Options = []layers.TCPOption{nop, nop, optionTimestamps(777, c.tsval(key))}
	}
	return tcp
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/onevip/onevip/topology"
)

// What way knows of layer 7. A segment that follows the first one closely is not in it:
// that is a matter of time.

func (s tcpSegment) tuple() [2]netip.AddrPort { return [2]netip.AddrPort{s.client, s.vip} }

// inspect is a segment with a valid cookie that names us as inspector.
func (w *way) inspect(s tcpSegment) Reason {
	d, ok := w.decisions[s.tuple()]
	decided := ok && d.isn == s.seq-1
	switch {
	case !slices.Contains(w.inspected, s.vip.Port()):
		return w.adopt(s) // a policy of before, and no other connection of this tuple
	case !decided && !s.asks:
		return ReasonUndecided
	case !decided:
		d = decision{isn: s.seq - 1, ours: s.urgent}
		w.decisions[s.tuple()] = d
	}
	if d.ours {
		return w.adopt(s)
	}
	return ReasonHandedOver
}

func (w *way) supersede(s tcpSegment) {
	if d, ok := w.decisions[s.tuple()]; ok && d.isn != s.seq {
		d.superseded = true
		w.decisions[s.tuple()] = d
	}
}

// isGivenAway tells whether the segment is of the middle of a connection handed over.
func (w *way) isGivenAway(s tcpSegment, superseded bool) bool {
	d, ok := w.decisions[s.tuple()]
	return ok && !d.ours && (superseded || !d.superseded) && s.seq-1 != d.isn && s.seq-d.isn < 1<<30
}

// isHanded tells whether the member that the segment names sent it to us.
func (w *way) isHanded(s tcpSegment) bool {
	return topology.NodeID((s.ack-1)>>24) == w.member && bytes.Equal(w.addresses, slices.Concat(w.selfMAC[:], w.memberMAC[:]))
}

// fromInspector is a segment with an inspector's address.
func (w *way) fromInspector(s tcpSegment, p []byte, told bool) Reason {
	urgent := be.Uint16(p[18:])
	if !told && (s.urgent || urgent&0xbfc0 != 0x8000|uint16(w.self)<<6) {
		return ReasonForeign // for nobody, or another
	}
	w.takeOptions(s, urgent)
	if told {
		return w.told(s, be.Uint16(p[14:]))
	}
	return w.handed(s)
}

// takeOptions makes the record that the SYN would have left.
func (w *way) takeOptions(s tcpSegment, urgent uint16) {
	key := record{s.client, s.vip, s.seq - 1}
	if _, ok := w.records[key]; ok || s.urgent || urgent&0xc000 != 0xc000 {
		return
	}
	w.records[key] = cookie{wscale: uint8(urgent & 15), sack: urgent>>4&1 != 0, ecn: urgent>>5&1 != 0}
}

func (w *way) handed(s tcpSegment) Reason {
	reason, inspect := w.cookie(s)
	switch {
	case reason != ReasonAdopted:
		return reason
	case !inspect:
		return ReasonForeign
	}
	return w.adopt(s)
}

func (w *way) told(s tcpSegment, window uint16) Reason {
	owner, inspector := topology.NodeID(window>>8), topology.NodeID(window&0xff)
	if owner == topology.Undecided || inspector != w.member {
		return ReasonForeign
	}
	if reason, inspect := w.cookie(s); reason != ReasonAdopted || !inspect {
		return ReasonForeign
	}
	return ReasonTold
}

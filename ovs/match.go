// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"encoding/binary"
	"slices"
	"strings"
)

// EtherTypes in matches.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
	// EtherNode is the EtherType of frames between nodes (heartbeats, probes):
	// IEEE 802's local experimental type 1.
	EtherNode = 0x88b5
)

const (
	protoTCP    = 6
	protoICMPv6 = 58
)

// Match is what a flow matches: fields in the order of ovs-ofctl.
type Match []Field

// newMatch sorts the fields.
func newMatch(fields ...Field) Match {
	slices.SortStableFunc(fields, func(a, b Field) int {
		switch {
		case a.ID.less(b.ID):
			return -1
		case b.ID.less(a.ID):
			return 1
		}
		return 0
	})
	return fields
}

func (m Match) field(id FieldID) (Field, bool) {
	i := slices.IndexFunc(m, func(f Field) bool { return f.ID == id })
	if i < 0 {
		return Field{}, false
	}
	return m[i], true
}

// key is equal for matches that match the same.
func (m Match) key() string {
	var b []byte
	for _, f := range m {
		b = binary.BigEndian.AppendUint32(b, uint32(f.ID))
		b = append(b, f.Value...)
		b = append(b, '/')
		b = append(b, f.Mask...)
	}
	return string(b)
}

// protocolNames are the words with which ovs-ofctl replaces dl_type and nw_proto.
var protocolNames = map[uint64]map[uint64]string{
	etherIPv4: {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 132: "sctp"},
	etherIPv6: {protoICMPv6: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6"},
}

var etherNames = map[uint64]string{etherIPv4: "ip", etherARP: "arp", 0x8035: "rarp", etherIPv6: "ipv6"}

// protocol gives the word for the packet type and the fields that it replaces.
func (m Match) protocol() (word string, skip []FieldID) {
	ether, ok := m.field(FieldEthType)
	if !ok {
		return "", nil
	}
	if proto, ok := m.field(FieldIPProto); ok {
		if word := protocolNames[ether.number()][proto.number()]; word != "" {
			return word, []FieldID{FieldEthType, FieldIPProto}
		}
	}
	if word := etherNames[ether.number()]; word != "" {
		return word, []FieldID{FieldEthType}
	}
	return "", nil
}

// text is the match as ovs-ofctl prints it, after the priority.
func (m Match) text(n names) string {
	word, skip := m.protocol()
	var parts []string
	if word != "" {
		parts = append(parts, word)
	}
	for _, f := range m {
		if !slices.Contains(skip, f.ID) {
			parts = append(parts, f.matchText(n))
		}
	}
	return strings.Join(parts, ",")
}

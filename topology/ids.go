// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"net"
	"strconv"
)

// NodeID is the owner id of a node: the byte that a cookie carries and that
// every map, table and record names a node by. The controller hands it out.
type NodeID uint8

const (
	// Undecided is the owner in a cookie whose connection the first request
	// will decide (layer 7).
	Undecided NodeID = 0
	// MaxNodeID is the largest id of a node; 255 is reserved.
	MaxNodeID NodeID = 254
)

// Valid tells whether id can belong to a node.
func (id NodeID) Valid() bool { return id != Undecided && id <= MaxNodeID }

func (id NodeID) String() string { return strconv.Itoa(int(id)) }

// ServiceID numbers a service inside one cluster, from 0; the controller hands
// it out. It indexes the per-service BPF maps.
type ServiceID uint16

// NodeName, ServiceName and SwitchName are what the operator calls them:
// lower-case letters, digits, '-' and '.', at most 63 characters.
type (
	NodeName    string
	ServiceName string
	SwitchName  string
)

// SlotCount is the number of slots: a 4-tuple hashes into one of them.
const SlotCount = 1024

// BucketCount is the number of buckets of a service whose policy inspects: the
// hash of a key falls into one of them. A bucket has at most BucketNodes nodes.
const (
	BucketCount = 4096
	BucketNodes = 8
)

// MAC is a 48-bit Ethernet address. The zero MAC means "not known".
type MAC [6]byte

// ParseMAC reads the colon-separated form, such as 02:00:5e:00:00:01.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, err
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("address %s: want 6 bytes, have %d", s, len(hw))
	}
	return MAC(hw), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsZero tells whether the address is unknown.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText gives the colon-separated form, or nothing for the zero MAC.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText is the inverse of MarshalText.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	parsed, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/onevip/onevip/topology"
)

// DatapathID names a switch in OpenFlow.
type DatapathID uint64

// String is the form of other_config:datapath-id: 16 hexadecimal digits.
func (id DatapathID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// DatapathIDOf is the datapath id that EnsureBridge gives to a switch: always
// the same for the same names, so that a session is known by it.
func DatapathIDOf(cluster string, sw topology.SwitchName) DatapathID {
	sum := sha256.Sum256([]byte("onevip\x00" + cluster + "\x00" + string(sw)))
	id := DatapathID(binary.BigEndian.Uint64(sum[:]))
	if id == 0 { // OVS takes zero for "not set"
		return 1
	}
	return id
}

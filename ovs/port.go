// SPDX-License-Identifier: Apache-2.0

package ovs

import "github.com/onevip/onevip/topology"

// Port is one OpenFlow port of a bridge.
type Port struct {
	Number uint32
	Name   string
	MAC    topology.MAC
	// Up is false if the port is administratively down or has no carrier.
	Up bool
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import "strconv"

// Table is an OpenFlow table. A packet passes the tables in their order.
type Table uint8

const (
	// Classify drops what comes from where it must not come from, and marks
	// what comes from inside the cluster (inside).
	Classify Table = iota
	// Neighbor answers ARP and hands neighbour solicitations to the Speaker.
	Neighbor
	// Cluster floods packets for a VIP to the members.
	Cluster
	// Normal switches the rest as any switch does.
	Normal
)

// tableCount is the number of tables that are ours.
const tableCount = int(Normal) + 1

var tableNames = [tableCount]string{"Classify", "Neighbor", "Cluster", "Normal"}

// String is the name that EnsureBridge gives to the table, and that
// ovs-ofctl --names prints.
func (t Table) String() string {
	if int(t) < len(tableNames) {
		return tableNames[t]
	}
	return strconv.Itoa(int(t))
}

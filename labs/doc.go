// SPDX-License-Identifier: Apache-2.0

// Package labs builds the hosts and cables of a containerlab file without
// Docker: a network namespace per host, veth pairs for links, the host's own
// command as a process in its namespace. What a switch is, the lab says itself:
// a host that runs Open vSwitch.
//
// A running lab is a folder under /run/onevip/labs. It says which namespaces
// and processes are the lab's before they are made, so that Down finds all of
// it whatever has died meanwhile, and whoever calls it.
//
// Fault does harm to a host and Heal undoes it. What a fault will do is written
// down in the same way, so that an unhealed fault leaves nothing either.
//
// The labs of this folder are part of the binary. Package labs knows nothing of
// clusters; cmd/onevip calls it.
package labs

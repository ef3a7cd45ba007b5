// SPDX-License-Identifier: Apache-2.0

// Package failover measures what clients notice when something of a cluster
// fails: new connections at a steady rate and long streams go on while a fault is
// injected into a lab, many times, with speculation and without.
//
// The client's part (Load) runs in the lab's client host as a process of its own
// and gives a Trace; the bench's part (Bench) injects, heals, and sums up. Who
// calls it: onevip bench failover.
package failover

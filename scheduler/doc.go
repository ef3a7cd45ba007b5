// SPDX-License-Identifier: Apache-2.0

// Package scheduler answers two questions: who answers the SYNs of a slot, and
// who owns a new connection. All of it is pure functions: no clock, no I/O, no
// random, so that every node comes to the same answer.
//
// The eBPF programs decide per packet with the same arithmetic; Pick and
// SourceBucket are the oracle that they are tested against. Slots is used by
// the controller, SourceHash by the node's agent.
package scheduler

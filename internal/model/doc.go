// SPDX-License-Identifier: Apache-2.0

// Package model holds the cluster's protocol as models that are searched for
// violations of its invariants: takeover.pml and handover.pml with Spin, one
// connection to the end, whose SYN/ACK names the owner or an inspector; and a random
// state machine (TestProtocol), in which the leader's decisions, the slot tables, the
// guards and the picks are the real ones, and nodes, switch and clients are played. It
// has no code that runs in a cluster.
package model

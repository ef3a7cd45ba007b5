// SPDX-License-Identifier: Apache-2.0

// Package nodeagent is the loop of one server node. It brings what the cluster
// decided (package state) into the node's kernel (package bpf), tells the other
// nodes by heartbeats how loaded and how well this one is, and keeps the load
// table that the node's scheduler picks from.
//
// Files come in two kinds. Deciding: heartbeat, peers, settle, warmth, loads,
// health, tables, handover, vigil, standdown, conntable, record, and the core that
// joins them. These have no clock and do no I/O: core.Step maps an event and a
// time to actions. Doing: agent (the loop), do, ask, installer, wire, deputy,
// destroy, checker, connwriter, sockdiag, host with sysctl, addresses and journal,
// preflight. Metrics are counted and logs written where things are done.
//
// What the node does in the place of failed ones has a core and a loop of its own,
// guard_core and guard, beside the other: docs/guard.md.
//
// The agent is not in the packet's way. When it stops, by itself or by force,
// the programs stay attached and connections go on; Cleanup removes all.
package nodeagent

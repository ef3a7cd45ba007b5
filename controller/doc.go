// SPDX-License-Identifier: Apache-2.0

// Package controller is the cluster's loop: it elects a leader among the
// controllers, and the leader writes who is a member under which id, which
// services there are, who schedules which slot, and the keys; and it keeps the
// switches doing what that means.
//
// A node fails when the switch, its own reboot or its fellows say so (judge). That
// is written together with a slot table that does without it; then its port is
// fenced (station), and only when the fence is in force for packets too is that
// written, and others may act in the node's place. It comes back under another id.
//
// Deciding is pure: Decide maps a View of the state, the configuration and the
// time to changes of the state, intentFor maps them to what a switch shall do.
// Run is the thin loop around both; a desk serves the switches.
//
// The controller is in nobody's way. Without it, and without etcd, packets take
// the way that was written last. Package nodeagent is its other half; the two
// never talk to each other but meet in the state.
package controller

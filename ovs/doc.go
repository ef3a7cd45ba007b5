// SPDX-License-Identifier: Apache-2.0

// Package ovs is the switch side of onevip: what an Open vSwitch bridge shall
// do for a cluster, as a Go value, and the means to make it so.
//
//   - Build turns an Intent into a Pipeline: flows and groups, pure.
//   - Diff compares two pipelines, pure.
//   - EnsureBridge prepares a bridge through OVSDB; Listen accepts the OpenFlow
//     connection that the bridge then opens; Session.Apply installs a pipeline
//     as one bundle; Session.Settle waits until the packets follow it.
//   - Speaker speaks ARP and neighbour discovery for the VIPs: it announces them
//     and answers neighbour solicitations.
//
// It does not decide who is a member, which VIPs there are or who leads; the
// controller does, and calls this package. It is the only user of libOpenflow,
// with which it encodes (framing and decoding are its own, bounded and fuzzed),
// and of go-openvswitch.
package ovs

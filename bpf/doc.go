// SPDX-License-Identifier: Apache-2.0

// Package bpf is the packet's way through a node's kernel: one eBPF object
// that filters what the switch floods, answers SYNs and adopts connections,
// and the typed Go side of its maps. It is the only user of cilium/ebpf.
//
// The way itself is C: onevip.bpf.c is its table of contents. Nothing here
// decides who owns a connection's slot, which nodes may be picked or when a
// key rotates: package nodeagent tells, this package writes it into the maps,
// all at once where the whole matters.
package bpf

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// A program that writes through packet pointers begins, by the kernel's hand,
// with a look whether the packet is shared, and a copy if it is: in a flood they
// all are, and a copy that fails is dropped uncounted. Ours must not.
func TestFixtureSharedPacketsAreNotCopied(t *testing.T) {
	r := newRig(t)
	info, err := r.f.objs.OnevipIngress.Info()
	if err != nil {
		t.Fatal(err)
	}
	program, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	for _, ins := range program[:8] {
		if ins.OpCode.Class() == asm.LdXClass && ins.Src == asm.R1 {
			t.Fatalf("begins with %v: does the program write through a packet pointer?", program[:9])
		}
	}
}

// SYNs on all CPUs at once: the nodes' shares stay within a few of each other,
// although the CPUs' matches disturb each other.
func TestFixtureBurstOnAllCPUs(t *testing.T) {
	r := newRig(t)
	const nodes, workers, each = 48, 4, 3000
	var ids []topology.NodeID
	for i := range nodes {
		ids = append(ids, topology.NodeID(i+10))
	}
	r.setOwner(t, webService, ids...)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			runtime.LockOSThread()
			for i := range each {
				syn := plainOffer(webPort).syn()
				syn.SrcPort, syn.DstPort = layers.TCPPort(w*each+i+1), webPort
				f := families[i%2]
				if _, err := r.f.objs.OnevipIngress.Run(&ebpf.RunOptions{Data: inbound(f.client, f.vip).tcp(syn, nil)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	counts, err := r.f.Counts(webService)
	if err != nil {
		t.Fatal(err)
	}
	shares := counts.Assigned[10 : 10+nodes]
	least, most := slices.Min(shares), slices.Max(shares)
	t.Logf("%d SYNs: %d to %d a node", workers*each, least, most)
	if mean := uint64(workers * each / nodes); least+8 < mean || most > mean+8 {
		t.Fatalf("%d to %d a node, want %d: %v", least, most, mean, shares)
	}
}

// The verifier gives up at a million instructions looked at; kernels differ in how
// many they need, so there must be room.
func TestFixtureVerifierHasRoom(t *testing.T) {
	r := newRig(t)
	info, err := r.f.objs.OnevipIngress.Info()
	if err != nil {
		t.Fatal(err)
	}
	n, ok := info.VerifiedInstructions()
	if !ok {
		t.Skip("this kernel does not say how many instructions it looked at (Linux 5.16)")
	}
	t.Logf("%d instructions looked at", n)
	if n > 600_000 {
		t.Fatalf("the verifier looked at %d instructions, of at most 1000000: make a function global", n)
	}
}

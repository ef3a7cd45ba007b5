// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/onevip/onevip/topology"
)

// What one pick costs: by least connection, by LARD at ease, and when all keys are hot
// and sets full, by bounded-hash, when all of few keys are at their bound. Keys take
// turns in long runs.
func BenchmarkPick(b *testing.B) {
	needRoot(b)
	f, err := loadUnpinned(Options{Services: 8}, 1500)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	tools, err := loadTools(f)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { tools.Close() })
	p := &picker{&rig{f: f}, tools}
	for _, nodes := range []topology.NodeID{4, 64, topology.MaxNodeID} {
		p.benchmark(b, "least", topology.LeastConnection, nodes, 65)
		p.benchmark(b, "lard", topology.Locality, nodes, math.MaxUint32)
		p.benchmark(b, "lard-hot", topology.Locality, nodes, 65)
		p.benchmark(b, "bounded", topology.BoundedHash, nodes, 65)
	}
}

func (p *picker) benchmark(b *testing.B, name string, policy topology.Policy, nodes topology.NodeID, high uint32) {
	const keys = 64
	b.Run(fmt.Sprintf("%s/%d", name, nodes), func(b *testing.B) {
		runtime.LockOSThread() // whose CPU time it is
		defer runtime.UnlockOSThread()
		rules, err := Rules{Key: "path", Low: 25, High: high, Decay: time.Hour, Silent: time.Second, Bound: 1.25}.entry()
		if err != nil {
			b.Fatal(err)
		}
		if err := p.f.putRules(uint32(webService), &rules); err != nil {
			b.Fatal(err)
		}
		if err := p.f.forgetBuckets(webService); err != nil {
			b.Fatal(err)
		}
		if err := p.f.objs.Assigned.Put(uint32(webService), onevipOvByNode{}); err != nil {
			b.Fatal(err)
		}
		p.even(b, nodes)
		b.ResetTimer()
		least := math.Inf(1) // of all keys: what others do on the machine only adds
		for key := range uint64(keys) {
			before, err := threadTime()
			if err != nil {
				b.Fatal(err)
			}
			repeat := b.N/keys + 1
			if _, _, err := p.tools.Pick.Benchmark(order(policy, key, true), repeat, nil); err != nil {
				b.Fatal(err)
			}
			after, err := threadTime()
			if err != nil {
				b.Fatal(err)
			}
			least = min(least, float64(after-before)/float64(repeat))
		}
		b.ReportMetric(least, "cpu-ns/pick")
	})
}

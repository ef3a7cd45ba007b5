// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/onevip/onevip/topology"
)

// What it costs to find a key: the copy of the payload, the walk and the hash.
func BenchmarkInspect(b *testing.B) {
	in := newInspector(b)
	const begin = " HTTP/1.1\r\nHost: www.example.com\r\n"
	path := "GET /" + strings.Repeat("x", 59) + begin
	header := "Accept-Encoding: gzip, deflate, br, zstd\r\n"
	hellos := someHellos(b)
	in.benchmark(b, "nothing", "tls-sni", []byte(path)) // not TLS: what a run costs at least
	in.benchmark(b, "path/1", "path", []byte("GET /"+begin))
	in.benchmark(b, "path/60", "path", []byte(path))
	in.benchmark(b, "path/60-of-1460", "path", []byte(path+strings.Repeat(header, 33)))
	in.benchmark(b, "prefix/60", "path-prefix:2", []byte("GET /images/2026/"+strings.Repeat("x", 46)+begin))
	in.benchmark(b, "host+path/60", "host+path", []byte(path))
	in.benchmark(b, "header/last-of-1460", "header:x-user", []byte(path+strings.Repeat(header, 32)+"X-User: ann\r\n"))
	in.benchmark(b, "sni/first", "tls-sni", hellos[0])
	in.benchmark(b, "sni/browser", "tls-sni", hellos[len(hellos)-1])
}

func (in *inspector) benchmark(b *testing.B, name string, key topology.LocalityKey, payload []byte) {
	b.Run(name, func(b *testing.B) {
		runtime.LockOSThread() // whose CPU time it is
		defer runtime.UnlockOSThread()
		in.agree(b, key, payload)
		const rounds = 16
		least := math.Inf(1) // what others do on the machine only adds
		for range rounds {
			before, err := threadTime()
			if err != nil {
				b.Fatal(err)
			}
			repeat := b.N/rounds + 1
			if _, _, err := in.Program.Benchmark(inspectFrame(payload), repeat, nil); err != nil {
				b.Fatal(err)
			}
			after, err := threadTime()
			if err != nil {
				b.Fatal(err)
			}
			least = min(least, float64(after-before)/float64(repeat))
		}
		b.ReportMetric(least, "least-ns/op")
	})
}

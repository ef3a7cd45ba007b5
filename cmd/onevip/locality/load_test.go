// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/labs/workload"
)

// A server that has each file in its cache from the second time on, and breaks off
// in the middle of one of them.
func startServer(t *testing.T, files *workload.Set, broken string) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, found := files.Lookup(r.URL.Path)
		if !found {
			http.NotFound(w, r)
			return
		}
		mu.Lock()
		cached := seen[f.Name]
		seen[f.Name] = true
		mu.Unlock()
		w.Header().Set(nodeHeader, "n1")
		if cached {
			w.Header().Set(cacheHeader, "hit")
		}
		content := io.Reader(f.Content())
		if f.Name == broken {
			content = io.LimitReader(content, f.Bytes/2)
		}
		_, _ = io.Copy(w, content)
	}))
	t.Cleanup(server.Close)
	return server
}

func newSet(t *testing.T, spec workload.Spec) *workload.Set {
	t.Helper()
	files, err := workload.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLoad(t *testing.T) {
	files := newSet(t, workload.Spec{Directories: 1, Scale: 1e-4})
	broken := files.Files()[0].Name
	server := startServer(t, files, broken)
	load := Load{
		VIP: netip.MustParseAddrPort(server.Listener.Addr().String()), From: netip.MustParseAddr("127.0.0.1"), Froms: 3,
		Line: 1e6, Rate: 200, Warm: 200 * time.Millisecond, For: 300 * time.Millisecond, Seed: 1, Files: files.Spec(),
	}
	counting := 0
	trace, err := load.Run(context.Background(), func() { counting++ })
	if err != nil {
		t.Fatal(err)
	}
	want := schedule(load.Seed, load.Rate, load.Warm+load.For, files)
	if counting != 1 || trace.Warmed+len(trace.Downloads) != len(want) || trace.Warmed == 0 {
		t.Errorf("it said %d times that downloads count; %d are warm-up, %d count, of %d", counting, trace.Warmed, len(trace.Downloads), len(want))
	}
	for i, d := range trace.Downloads {
		due := want[trace.Warmed+i]
		if d.Path != due.file.Name || d.At != due.at || d.At < load.Warm {
			t.Errorf("download %d is %+v, due was %+v", i, d, due)
		}
		if failed := d.Err != ""; failed != (d.Path == broken) {
			t.Errorf("download %d of %s: error %q", i, d.Path, d.Err)
		}
		if d.Err == "" && (d.Node != "n1" || d.First <= 0 || d.Rate() > load.Line*1.5) {
			t.Errorf("download %d: %+v", i, d)
		}
	}
}

// After the priming every file is a hit.
func TestPrime(t *testing.T) {
	files := newSet(t, workload.Spec{Directories: 2, Scale: 1e-4})
	server := startServer(t, files, "")
	load := Load{
		VIP: netip.MustParseAddrPort(server.Listener.Addr().String()), From: netip.MustParseAddr("127.0.0.1"), Froms: 1,
		Line: 1e6, Rate: 100, For: 100 * time.Millisecond, Files: files.Spec(),
	}
	load.Primed = true
	trace, err := load.Run(context.Background(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range trace.Downloads {
		if !d.Hit {
			t.Errorf("download %d of %s was no hit", i, d.Path)
		}
	}
	load.VIP = netip.AddrPortFrom(load.VIP.Addr(), 1)
	if _, err := load.Run(context.Background(), func() {}); err == nil {
		t.Error("priming with no server there is well")
	}
}

// What the bench sends to the client host is what its clients do.
func TestJob(t *testing.T) {
	spec := workload.Spec{Directories: 1, Scale: 1e-4}
	server := startServer(t, newSet(t, spec), "")
	vip, from := netip.MustParseAddrPort(server.Listener.Addr().String()), netip.MustParseAddr("127.0.0.1")
	do := func(job Job, into any) string {
		t.Helper()
		text, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		var out, said bytes.Buffer
		if err := DoJob(context.Background(), bytes.NewReader(text), &out, &said); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	var trace Trace
	load := Load{VIP: vip, From: from, Froms: 1, Line: 1e6, Rate: 100, For: 100 * time.Millisecond, Files: spec}
	if said := do(Job{Load: &load}, &trace); len(trace.Downloads) == 0 || said != CountingLine+"\n" {
		t.Errorf("%d downloads, it said %q", len(trace.Downloads), said)
	}
	var pairs []Pair
	do(Job{Pairs: &Pairs{Layer7: vip, Layer4: vip, From: from, Froms: 1, Count: 3, Path: "/download/dir00000/0-0"}}, &pairs)
	for i, p := range pairs {
		if p.Layer7 <= 0 || p.Layer4 <= 0 {
			t.Errorf("pair %d: %+v", i, p)
		}
	}
	if len(pairs) != 3 {
		t.Errorf("%d pairs", len(pairs))
	}
	if err := DoJob(context.Background(), strings.NewReader("{}"), io.Discard, io.Discard); err == nil {
		t.Error("nothing was done, and that is well")
	}
}

// Each policy is asked the same, at the same times.
func TestScheduleDependsOnTheSeedAlone(t *testing.T) {
	files := newSet(t, workload.Default)
	one, two := schedule(7, 500, 10*time.Second, files), schedule(7, 500, 10*time.Second, files)
	if diff := cmp.Diff(one, two, cmp.AllowUnexported(due{})); diff != "" {
		t.Errorf("the same seed:\n%s", diff)
	}
	if other := schedule(8, 500, 10*time.Second, files); other[0] == one[0] {
		t.Error("another seed gives the same")
	}
	if n := len(one); n < 4500 || n > 5500 {
		t.Errorf("%d downloads, want 5000 or so", n)
	}
}

// A line makes up for what waited in front of it, and for no more.
func TestLine(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	tests := []struct {
		name  string
		comes []int // ms at which 1000 bytes come, on a line of 100 kB/s: 10 ms each
		want  int   // ms at which the line is through
	}{
		{"at its rate", []int{0, 10, 20}, 30},
		{"all at once", []int{0, 0, 0}, 30},
		{"late by what is queued", []int{0, 30, 30}, 30},
		{"stalled", []int{0, 100}, 90},
	}
	for _, tt := range tests {
		l := line{rate: 100_000, free: start}
		for _, ms := range tt.comes {
			l.carry(1000, at(ms))
		}
		if !l.free.Equal(at(tt.want)) {
			t.Errorf("%s: through at %v, want %v", tt.name, l.free.Sub(start), at(tt.want).Sub(start))
		}
	}
}

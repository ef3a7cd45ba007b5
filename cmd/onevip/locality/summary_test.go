// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/topology"
)

// On a line of 100 kB/s, 95 kB may take a second and the allowance.
func TestSlow(t *testing.T) {
	tests := []struct {
		took time.Duration
		err  string
		want bool
	}{
		{950 * time.Millisecond, "", false},
		{time.Second + Allowance, "", false},
		{time.Second + Allowance + time.Millisecond, "", true},
		{950 * time.Millisecond, "reset", true},
	}
	for _, tt := range tests {
		if got := (Download{Bytes: 95_000, Took: tt.took, Err: tt.err}).Slow(100_000); got != tt.want {
			t.Errorf("%v, error %q: slow is %t", tt.took, tt.err, got)
		}
	}
}

func download(path, node string, class int, hit bool, took time.Duration) Download {
	return Download{Path: path, Node: node, Class: class, Hit: hit, Bytes: 95_000, First: took / 100, Took: took}
}

func TestSummarise(t *testing.T) {
	fast, slow := 950*time.Millisecond, 2*time.Second
	failed := download("/c", "", 1, false, fast)
	failed.Err = "reset"
	rounds := []Round{
		{Policy: topology.Locality, Number: 1, SwitchLost: 2, Inspected: Inspected{"hit": 2, "short": 1}, Trace: Trace{Downloads: []Download{
			download("/a", "n1", 0, true, fast), download("/a", "n2", 0, true, fast), download("/b", "n2", 1, true, slow), failed,
		}}, Nodes: []NodeRound{{Node: "n1", StorageBytes: 1e6}, {Node: "n2", StorageBytes: 2e6}}},
		{Policy: topology.Locality, Number: 2, SwitchLost: 1, Inspected: Inspected{"hit": 5}, Trace: Trace{Downloads: []Download{download("/a", "n1", 0, false, fast)}}},
		{Policy: topology.LeastConnection, Number: 1},
	}
	want := map[topology.Policy]Summary{
		topology.Locality: {
			Rounds: 2, Downloads: 5, Slow: 2, SlowHits: 1, Failed: 1, HitRatio: 0.75, ByteRatio: 0.75, StorageMB: 3, FirstP50: 9.5, FirstP99: 20,
			Classes: map[string]Class{"0": {3, 0}, "1": {2, 2}},
			Nodes:   map[string]Share{"n1": {2, 190_000, 0.5, 1}, "n2": {2, 190_000, 1, 2}},
			Copies:  1.5, SwitchLost: 3, Inspected: Inspected{"hit": 7, "short": 1},
		},
		topology.LeastConnection: {Rounds: 1, Classes: map[string]Class{}, Nodes: map[string]Share{}, Inspected: Inspected{}},
	}
	if diff := cmp.Diff(want, Summarise(rounds, 100_000)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInspected(t *testing.T) {
	const metrics = `# HELP onevip_locality_requests_total Connections.
onevip_locality_requests_total{outcome="hit",service="web"} 154
onevip_locality_requests_total{outcome="hit",service="bounded"} 9
onevip_locality_fallbacks_total{reason="too_long",service="web"} 3
onevip_locality_sets{service="web"} 2
`
	before := Inspected{"hit": 100, "too_long": 6}
	now := Inspected{}
	now.add([]byte(metrics), "web")
	now.add([]byte(metrics), "web")
	if diff := cmp.Diff(Inspected{"hit": 208}, now.since(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	var pairs []Pair
	for i := range 100 {
		pairs = append(pairs, Pair{Layer7: time.Duration(1200+i) * time.Microsecond, Layer4: time.Duration(1000+i) * time.Microsecond})
	}
	got := Compare(pairs)
	want := Compared{Pairs: 100, Layer7P50: 1.249, Layer7P99: 1.298, Layer4P50: 1.049, Layer4P99: 1.098, Ratio: 1.249 / 1.049}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Compared{}, "Low", "High"), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Low >= got.Ratio || got.High <= got.Ratio || got.Low < 1.15 || got.High > 1.25 {
		t.Errorf("the interval of %g is %g to %g", got.Ratio, got.Low, got.High)
	}
	if none := Compare(nil); none != (Compared{}) {
		t.Errorf("of nothing: %+v", none)
	}
}

func TestPlot(t *testing.T) {
	rounds := []Round{
		{Policy: topology.Locality, Trace: Trace{Downloads: []Download{download("/a", "n1", 0, true, time.Second)}}},
		{Policy: topology.LeastConnection},
	}
	path := filepath.Join(t.TempDir(), "plot.png")
	if err := Plot(rounds, []topology.Policy{topology.Locality, topology.LeastConnection}, 100_000, path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() < 1000 {
		t.Errorf("the plot: %v, %v", info, err)
	}
}

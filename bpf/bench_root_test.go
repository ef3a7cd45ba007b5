// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"errors"
	"testing"
)

// The promises of make bench-bpf: the cases are there, with sensible figures.
func TestBench(t *testing.T) {
	needRoot(t)
	steps, last := 0, 0
	report, err := Bench(t.Context(), BenchOptions{
		Rounds: 16, Repeat: 2000, Sockets: 256,
		Progress: func(done, total int) { steps, last = done, total },
	})
	if err != nil {
		t.Fatal(err)
	}
	if steps != last || steps == 0 {
		t.Errorf("progress ended at %d of %d", steps, last)
	}
	for _, name := range []string{"foreign", "own", "syn4", "syn64", "adopt"} {
		f, ok := report.Summary[name]
		if !ok || f.NS <= 0 || f.Ratio <= 1 {
			t.Errorf("%s: %+v, want more than the baseline", name, f)
		}
	}
	for _, c := range report.Cases {
		if c.Least > c.Median || c.Median > c.Most || c.Baseline <= 0 || c.Rounds < 16 {
			t.Errorf("%s: odd figures: %+v", c.Name, c)
		}
	}
	if syn, foreign := report.Summary["syn64"].NS, report.Summary["foreign"].NS; syn < foreign {
		t.Errorf("a SYN/ACK takes %.1f ns, less than a drop: %.1f ns", syn, foreign)
	}
}

func TestBenchEndsWithItsContext(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Bench(ctx, BenchOptions{Sockets: 256, Progress: func(int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
}

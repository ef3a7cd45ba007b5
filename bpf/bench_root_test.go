// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
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
	for _, name := range []string{"foreign", "own", "syn4", "syn64", "adopt", "undecided", "inspected", "followed", "handed"} {
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

// A SYN/ACK that nobody waited for is not taken for one of a connection to be
// measured: that client is nowhere, and the kernel makes no socket for it.
func TestBenchMeasuresItsConnections(t *testing.T) {
	needRoot(t)
	done := make(chan error, 1)
	var flows []benchFlow
	go func() { // its thread stays in the namespace, and so ends with it
		runtime.LockOSThread()
		b, err := newBench(BenchOptions{Sockets: 256}.withDefaults())
		if err != nil {
			done <- err
			return
		}
		flows, err = b.connectAfter(nthFlow(0, 9).newcomer())
		done <- errors.Join(err, b.close())
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(flows) != 4 {
		t.Errorf("%d connections, want 4", len(flows))
	}
	for _, f := range flows {
		if f.client.Addr() != benchFamilies[0].client {
			t.Errorf("a connection of %s, want only those of %s", f.client, benchFamilies[0].client)
		}
	}
}

// connectAfter makes four connections after a SYN whose answer nobody reads.
func (b *benchmark) connectAfter(ignored benchFlow) ([]benchFlow, error) {
	syn, err := ignored.syn()
	if err != nil {
		return nil, err
	}
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, err
	}
	defer stats.Close()
	if _, err := b.compare([][]byte{syn}, nil, ReasonAnswered); err != nil {
		return nil, err
	}
	_, err = b.wireRound(0, 0, 4)
	return b.flows[0], err
}

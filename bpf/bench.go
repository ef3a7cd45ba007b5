// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// BenchOptions say how long to measure; zero fields take the defaults.
type BenchOptions struct {
	// Rounds is how often each case is measured: 31.
	Rounds int
	// Repeat is the number of packets of one measurement by test run: 20000.
	Repeat int
	// Sockets is the number of established connections while packets are
	// measured, and of the adoptions measured: 4096.
	Sockets int
	// Progress is told how many of all measurements are done; may be nil.
	Progress func(done, total int)
}

func (o BenchOptions) withDefaults() BenchOptions {
	o.Rounds = cmp.Or(o.Rounds, 31)
	o.Repeat = cmp.Or(o.Repeat, 20_000)
	o.Sockets = cmp.Or(o.Sockets, 4096)
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	return o
}

// BenchFigure is what one kind of packet costs.
type BenchFigure struct {
	// NS is the median time of one packet in the program, in nanoseconds.
	NS float64 `json:"ns"`
	// Ratio is NS to that of a program that finds the TCP header and drops:
	// the median of the ratios of the rounds, each of the same packet and method.
	Ratio float64 `json:"ratio"`
}

// BenchCase is a BenchFigure and how it came about.
type BenchCase struct {
	Name   string      `json:"name"`
	Text   string      `json:"text"`
	Method BenchMethod `json:"method"`
	BenchFigure
	Baseline float64 `json:"baseline_ns"` // median
	Least    float64 `json:"min_ns"`
	Most     float64 `json:"max_ns"`
	Rounds   int     `json:"rounds"`
}

// BenchMethod is how packets were timed.
type BenchMethod string

// Test runs give the program the same packet again and again; on the wire it
// meets each packet once, in the softirq of a veth pair, with colder caches and
// with the cost of reading the clock twice a packet in the figure.
const (
	BenchTestRun BenchMethod = "test run"
	BenchWire    BenchMethod = "wire"
)

// BenchReport is all that Bench found.
type BenchReport struct {
	Kernel  string                 `json:"kernel"`
	CPUs    int                    `json:"cpus"`
	Sockets int                    `json:"sockets"`
	Summary map[string]BenchFigure `json:"summary"`
	Cases   []BenchCase            `json:"cases"`
}

// Bench measures the programs in a network namespace of its own, with real
// sockets there. It needs root. It ends early with the context's error.
func Bench(ctx context.Context, opts BenchOptions) (BenchReport, error) {
	opts = opts.withDefaults()
	if err := checkJIT(); err != nil {
		return BenchReport{}, err
	}
	var report BenchReport
	done := make(chan error, 1)
	go func() { // its thread stays in the namespace, and so ends with it
		runtime.LockOSThread()
		done <- bench(ctx, opts, &report)
	}()
	err := <-done
	return report, err
}

func bench(ctx context.Context, opts BenchOptions, report *BenchReport) (err error) {
	b, err := newBench(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	wire, err := b.measureWire(ctx)
	if err != nil {
		return err
	}
	runs, err := b.measureRuns(ctx)
	if err != nil {
		return err
	}
	*report = BenchReport{
		Kernel: kernelRelease(), CPUs: runtime.NumCPU(), Sockets: opts.Sockets,
		Summary: map[string]BenchFigure{}, Cases: append(runs, wire...),
	}
	for _, c := range report.Cases {
		report.Summary[c.Name] = c.BenchFigure
	}
	return nil
}

// checkJIT refuses to measure the interpreter.
func checkJIT() error {
	const name = "/proc/sys/net/core/bpf_jit_enable"
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("is the BPF compiler on? %w", err)
	}
	if strings.TrimSpace(string(text)) == "0" {
		return fmt.Errorf("the BPF compiler is off, the figures would mean nothing: echo 1 > %s", name)
	}
	return nil
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// sample is one round of a case: nanoseconds a packet.
type sample struct{ ns, baseline float64 }

// summarize makes a case of its rounds.
func summarize(c BenchCase, samples []sample) BenchCase {
	var ns, baseline, ratio []float64
	for _, s := range samples {
		ns = append(ns, s.ns)
		baseline = append(baseline, s.baseline)
		ratio = append(ratio, s.ns/s.baseline)
	}
	c.NS, c.Baseline, c.Ratio = median(ns), median(baseline), median(ratio)
	c.Least, c.Most, c.Rounds = slices.Min(ns), slices.Max(ns), len(samples)
	return c
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

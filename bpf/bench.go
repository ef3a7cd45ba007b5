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
	// Rounds is how often each case is measured by test runs: 120.
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
	o.Rounds = cmp.Or(o.Rounds, 120)
	o.Repeat = cmp.Or(o.Repeat, 20_000)
	o.Sockets = cmp.Or(o.Sockets, 4096)
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	return o
}

// BenchFigure is what one kind of packet costs.
type BenchFigure struct {
	// NS is the time that the program takes for one packet, in nanoseconds.
	NS float64 `json:"ns"`
	// Ratio is NS to that of the baseline on the same packets by the same method.
	// The baseline checks the same headers by the same code, counts and drops.
	Ratio float64 `json:"ratio"`
}

// BenchCase is a BenchFigure and how it came about.
type BenchCase struct {
	Name   string      `json:"name"`
	Text   string      `json:"text"`
	Method BenchMethod `json:"method"`
	BenchFigure
	Baseline float64 `json:"baseline_ns"`
	Least    float64 `json:"min_ns"` // of the rounds; so the next two
	Median   float64 `json:"median_ns"`
	Most     float64 `json:"max_ns"`
	Rounds   int     `json:"rounds"`
}

// BenchMethod is how packets were timed.
type BenchMethod string

const (
	// BenchTestRun is BPF_PROG_TEST_RUN: the same packet again and again, all in
	// the caches. Figures are of the least of the rounds.
	BenchTestRun BenchMethod = "test run"
	// BenchWire is the kernel's BPF statistics on an interface: each packet
	// comes once, so caches are colder, and the reading of the clock around each
	// run is in the figure. Figures are medians of the rounds.
	BenchWire BenchMethod = "wire"
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

// spread notes how far the rounds lie apart.
func (c BenchCase) spread(ns []float64) BenchCase {
	c.Least, c.Median, c.Most, c.Rounds = slices.Min(ns), median(ns), slices.Max(ns), len(ns)
	return c
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

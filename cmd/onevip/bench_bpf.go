// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/onevip/onevip/bpf"
)

// benchBPFFlags are the flags of bench bpf.
type benchBPFFlags struct {
	json   string
	opts   bpf.BenchOptions
	output outputFlag
}

// benchBPFCommand measures the eBPF programs, packet by packet.
func benchBPFCommand(e *env) *cobra.Command {
	var f benchBPFFlags
	cmd := &cobra.Command{
		Use:   "bpf",
		Short: "Measure the eBPF programs: nanoseconds a packet, and the ratio to parsing alone",
		Long: `Load the programs in a network namespace of their own, make a few thousand
connections there, and time them packet by packet. Needs root; nothing is left.

The baseline checks the same headers by the same code, counts the packet and drops
it; it gets the same packets by the same method in the same run. Case "bare" is a
program that only looks at the Ethernet type: what a run costs in itself.

Method "test run" is BPF_PROG_TEST_RUN: each packet thousands of times in a row, in
CPU time of the thread. Of each packet's rounds the least counts, since what else
the machine does only adds; the figure is the mean over the packets. A SYN becomes
a SYN/ACK, so a small program puts the SYN back before each run; what that costs is
what it adds to the baseline, and is taken off.

Method "wire" is the kernel's BPF statistics on a veth pair, since no test run can
make a socket: each packet comes once, so that caches are cold, and reading the clock
around each run is in the figure. The figure is the median of the rounds' means.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBenchBPF(cmd.Context(), e, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.json, "json", "", "write the figures to this file; summary: case -> ns, ratio")
	flags.IntVar(&f.opts.Rounds, "rounds", 120, "measurements of each case by test run")
	flags.IntVar(&f.opts.Repeat, "repeat", 20_000, "packets of one measurement by test run")
	flags.IntVar(&f.opts.Sockets, "sockets", 4096, "connections of the node, and adoptions measured")
	f.output.register(flags)
	return cmd
}

// Bounds of the flags: fewer packets measure nothing, more sockets than ports of
// one client there can't be.
const (
	minBenchRounds  = 8
	minBenchRepeat  = 100
	minBenchSockets = 256
	maxBenchSockets = 32_768
)

func (f benchBPFFlags) check() error {
	switch {
	case f.opts.Rounds < minBenchRounds:
		return usageErrorf("--rounds %d: write %d or more", f.opts.Rounds, minBenchRounds)
	case f.opts.Repeat < minBenchRepeat:
		return usageErrorf("--repeat %d: write %d or more", f.opts.Repeat, minBenchRepeat)
	case f.opts.Sockets < minBenchSockets || f.opts.Sockets > maxBenchSockets:
		return usageErrorf("--sockets %d: write %d to %d", f.opts.Sockets, minBenchSockets, maxBenchSockets)
	}
	return nil
}

func runBenchBPF(ctx context.Context, e *env, f benchBPFFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	bar := benchProgress(e)
	f.opts.Progress = func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done) // an error is of the terminal
	}
	found, err := bpf.Bench(ctx, f.opts)
	_ = bar.Finish()
	if err != nil {
		return fmt.Errorf("bench bpf: %w", err)
	}
	report := benchBPFReport{Schema: benchBPFSchema, BenchReport: found}
	if f.json != "" {
		if err := report.save(f.json); err != nil {
			return err
		}
	}
	return f.output.write(e.stdout, report)
}

// benchProgress is a bar on a terminal, nothing elsewhere.
func benchProgress(e *env) *progressbar.ProgressBar {
	file, ok := e.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return progressbar.DefaultSilent(-1)
	}
	return progressbar.NewOptions(-1, progressbar.OptionSetWriter(file), progressbar.OptionSetDescription("measuring"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

const benchBPFSchema = "onevip.bench.bpf/1"

// benchBPFReport is the JSON of bench bpf.
type benchBPFReport struct {
	Schema string `json:"schema"`
	bpf.BenchReport
}

func (r benchBPFReport) save(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("bench bpf: %w", err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("bench bpf: %w", err)
	}
	return nil
}

func (r benchBPFReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("CASE", "WHAT", "METHOD", "NS", "BASELINE", "RATIO", "MIN", "MEDIAN", "MAX")
	for _, c := range r.Cases {
		t.row(c.Name, c.Text, c.Method, nanoseconds(c.NS), nanoseconds(c.Baseline), fmt.Sprintf("%.2f", c.Ratio),
			nanoseconds(c.Least), nanoseconds(c.Median), nanoseconds(c.Most))
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Linux %s, %d CPUs, %d connections. RATIO is to the baseline, which parses and drops; MIN to MAX are of the rounds.\n",
		r.Kernel, r.CPUs, r.Sockets)
	return err
}

func nanoseconds(ns float64) string { return fmt.Sprintf("%.1f", ns) }

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/onevip/onevip/cmd/onevip/failover"
)

// benchFailoverFlags are the flags of bench failover.
type benchFailoverFlags struct {
	lab, binary string
	json, png   string
	modes       []string
	faults      []string
	set         map[string]string
	rounds      int
	load        failover.Load
	vip, from   string
}

func benchFailoverCommand(e *env) *cobra.Command {
	var f benchFailoverFlags
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Measure what clients notice of faults, with speculation and without (root)",
		Long: `Bring a lab up, let clients connect at a steady rate while long connections go
on, inject a fault, heal, and again, with rounds without a fault in between. Then
the same with speculation switched off.

A round takes about ten seconds; 20 rounds of one fault in both modes take a
quarter of an hour.`,
		Example: "  onevip bench failover --rounds 20 --png failover.png\n" +
			"  onevip bench failover --faults owner-crash,link-down --modes on --set speculation.mirror=false --set speculation.delay=100ms",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBenchFailover(cmd.Context(), e, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.lab, "lab", "02-failover", "the lab to bring up")
	flags.StringVar(&f.binary, "binary", "", "onevip binary that the lab's hosts run; default: this one")
	flags.StringVar(&f.json, "json", "", "write the figures, and every connection's, to this file")
	flags.StringVar(&f.png, "png", "", "write the plot to this file")
	flags.StringSliceVar(&f.modes, "modes", []string{"on", "off"}, "speculation: on, off, or both")
	flags.StringSliceVar(&f.faults, "faults", []string{"scheduler-crash"}, "faults: kinds that onevip lab fault --help lists, or scheduler-KIND, owner-KIND to choose the victim")
	flags.StringToStringVar(&f.set, "set", nil, "a setting of the cluster: speculation.mirror=false")
	flags.IntVar(&f.rounds, "rounds", 5, "rounds with each fault, in each mode")
	flags.IntVar(&f.load.Rate, "rate", 300, "new connections per second")
	flags.IntVar(&f.load.Streams, "streams", 40, "long connections; every second one is silent")
	f.vip, f.from, f.load.Froms = "10.77.0.1:80", "10.77.1.1", 64
	return cmd
}

// failoverReport is the JSON of bench failover.
type failoverReport struct {
	Schema  string                                                `json:"schema"`
	Started time.Time                                             `json:"started"`
	Machine string                                                `json:"machine"`
	Rate    int                                                   `json:"rate"`
	Set     map[string]string                                     `json:"set,omitempty"`
	Summary map[failover.Fault]map[failover.Mode]failover.Summary `json:"summary"`
	Rounds  []failover.Round                                      `json:"rounds,omitempty"`
}

const failoverReportSchema = "onevip.bench.failover/1"

func runBenchFailover(ctx context.Context, e *env, f benchFailoverFlags) error {
	b, err := f.bench(e)
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions(b.Total(), progressbar.OptionSetWriter(e.stderr), progressbar.OptionShowCount(),
		progressbar.OptionSetDescription("rounds"), progressbar.OptionSetPredictTime(true))
	b.Done = func(failover.Round) { _ = bar.Add(1) }
	_ = bar.RenderBlank()
	report := failoverReport{
		Schema: failoverReportSchema, Started: e.now().UTC(), Rate: f.load.Rate, Set: f.set,
		Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	var failed error
	report.Rounds, failed = b.Run(ctx)
	fmt.Fprintln(e.stderr)
	report.Summary = failover.Summarise(report.Rounds)
	// What was measured before something broke is worth keeping.
	return errors.Join(failed, report.write(e, f, b.Faults))
}

// bench checks the flags.
func (f benchFailoverFlags) bench(e *env) (failover.Bench, error) {
	b := failover.Bench{Lab: f.lab, Binary: f.binary, Set: f.set, Rounds: f.rounds, Load: f.load, Log: e.log}
	if b.Set == nil {
		b.Set = map[string]string{}
	}
	if f.rounds < 1 || f.load.Rate < 1 || f.load.Streams < 0 {
		return b, usageErrorf("--rounds and --rate want 1 or more, --streams 0 or more")
	}
	for _, mode := range f.modes {
		if mode != string(failover.On) && mode != string(failover.Off) {
			return b, usageErrorf("--modes %q: write on, off or on,off", mode)
		}
		b.Modes = append(b.Modes, failover.Mode(mode))
	}
	for _, text := range f.faults {
		fault, err := failover.ParseFault(text)
		if err != nil {
			return b, usageErrorf("--faults: %w", err)
		}
		b.Faults = append(b.Faults, fault)
	}
	var err error
	if b.Load.VIP, err = netip.ParseAddrPort(f.vip); err != nil {
		return b, err
	}
	b.Load.From, err = netip.ParseAddr(f.from)
	return b, err
}

func (r failoverReport) write(e *env, f benchFailoverFlags, faults []failover.Fault) error {
	if f.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(f.json, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("bench failover: %w", err)
		}
	}
	if f.png != "" {
		if err := failover.Plot(r.Rounds, faults, f.png); err != nil {
			return err
		}
	}
	return r.writeTable(e.stdout)
}

func (r failoverReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Fault", "Speculation", "Connects", "Failed", "Broken", "Added p50", "p99", "max ms", "No fault p99", "max ms", "Streams", "Reset", "p50", "p99 ms", "Others'", "DoubleOwners", "SYNs again", "Switch lost")
	for _, fault := range sortedFaults(r.Summary) {
		for _, mode := range []failover.Mode{failover.On, failover.Off} {
			s, there := r.Summary[fault][mode]
			if !there {
				continue
			}
			t.row(fault, mode, s.Connects, s.Failed, s.Broken, tenth(s.AddedP50), tenth(s.AddedP99), tenth(s.AddedMax),
				tenth(s.BaselineP99), tenth(s.BaselineMax), s.Streams, s.StreamsReset, tenth(s.RSTP50), tenth(s.RSTP99), s.Touched, s.DoubleOwners, s.Resent, s.SwitchLost)
		}
	}
	return t.flush()
}

func sortedFaults(summary map[failover.Fault]map[failover.Mode]failover.Summary) []failover.Fault {
	var kinds []failover.Fault
	for kind := range summary {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func tenth(ms float64) string { return fmt.Sprintf("%.1f", ms) }

// benchFailoverLoadCommand is the clients' part, which bench failover runs in
// the lab's client host.
func benchFailoverLoadCommand(e *env) *cobra.Command {
	var load failover.Load
	var vip, from string
	cmd := &cobra.Command{Use: "failover-load", Short: "The clients of bench failover", Hidden: true, Args: noArgs}
	flags := cmd.Flags()
	flags.StringVar(&vip, "vip", "", "address and port of the service")
	flags.StringVar(&from, "from", "", "first client address")
	flags.IntVar(&load.Froms, "froms", 1, "client addresses")
	flags.IntVar(&load.Rate, "rate", 300, "new connections per second")
	flags.IntVar(&load.Streams, "streams", 0, "long connections")
	flags.DurationVar(&load.For, "for", time.Second, "how long")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if load.VIP, err = netip.ParseAddrPort(vip); err != nil {
			return err
		}
		if load.From, err = netip.ParseAddr(from); err != nil {
			return err
		}
		trace, err := load.Run(cmd.Context(), func() { fmt.Fprintln(e.stderr, failover.ReadyLine) })
		if err != nil {
			return err
		}
		return json.NewEncoder(e.stdout).Encode(trace)
	}
	return cmd
}

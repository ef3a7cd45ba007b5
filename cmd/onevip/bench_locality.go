// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/onevip/onevip/cmd/onevip/locality"
	"github.com/onevip/onevip/labs/workload"
	"github.com/onevip/onevip/topology"
)

// benchLocalityFlags are the flags of bench locality.
type benchLocalityFlags struct {
	json, png   string
	policies    []string
	cache, disk string
	quick       bool
	bench       locality.Bench // the rest
}

func benchLocalityCommand(e *env) *cobra.Command {
	f := benchLocalityFlags{bench: locality.Bench{Load: locality.Load{
		From: netip.MustParseAddr("10.77.1.1"), Froms: 64, Primed: true,
	}}}
	cmd := &cobra.Command{
		Use:   "locality",
		Short: "Measure what clients gain where the request's path chooses the node (root)",
		Long: `Bring lab 03-locality up and download from it through a service of each policy, one
after the other: the same files, asked for at the same times, from the same servers
with empty caches. A set of files is larger than a server's cache and smaller than
all of them together; what a cache lacks comes from a slow disk.

Downloads begin whether or not earlier ones are done (Poisson), files are picked as
in SPECweb2005's Support workload (this is no SPEC result). Each client has a slow
line. Slow is a download that took longer than its bytes take at 95% of the line's
rate and 10 ms; one that failed is slow too. Those that are slow though their file
was in memory tell what the machine itself adds: where they are many, let it rest,
and measure again. First each file is asked for once, then the load runs for a while;
neither counts.

Besides, pairs of requests compare the time to the first byte at low load: one by
the service that looks at requests, one by the service that does not.`,
		Example: "  onevip bench locality --json locality.json --png locality.png\n" +
			"  onevip bench locality --policies locality,bounded-hash,least-connection --rounds 3\n" +
			"  onevip bench locality --rounds 0 --pairs 2000",
		Args: noArgs,
	}
	f.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.quick {
			f.quicken(cmd.Flags().Changed)
		}
		return runBenchLocality(cmd.Context(), e, f)
	}
	return cmd
}

func (f *benchLocalityFlags) register(cmd *cobra.Command) {
	flags, b := cmd.Flags(), &f.bench
	flags.StringVar(&b.Lab, "lab", "03-locality", "the lab to bring up")
	flags.StringVar(&b.Binary, "binary", "", "onevip binary that the lab's hosts run; default: this one")
	flags.StringVar(&f.json, "json", "", "write the figures, and every download's, to this file")
	flags.StringVar(&f.png, "png", "", "write the plot to this file")
	flags.StringSliceVar(&f.policies, "policies", []string{"locality", "least-connection"}, "policies to compare: locality, bounded-hash, least-connection")
	flags.StringToStringVar(&b.Set, "set", nil, "a setting of the cluster: schedulers=1")
	flags.IntVar(&b.Rounds, "rounds", 1, "runs of each policy, in turns; 0 leaves the downloads out")
	flags.IntVar(&b.Pairs, "pairs", 500, "pairs of requests that compare layer 7 with layer 4; 0 leaves them out")
	flags.Float64Var(&b.Load.Rate, "rate", 60, "downloads begun per second")
	flags.Float64Var(&b.Load.Line, "line", 100_000, "bytes per second of each client's line")
	flags.DurationVar(&b.Load.Warm, "warm", 15*time.Second, "how long downloads do not count")
	flags.DurationVar(&b.Load.For, "for", time.Minute, "how long they do")
	flags.Uint64Var(&b.Load.Seed, "seed", 1, "of what is asked for, and when")
	flags.TextVar(&b.Load.Files, "files", workload.Default, "the `set` of files")
	flags.StringVar(&f.cache, "cache", "36MiB", "bytes of files that each server holds")
	flags.StringVar(&f.disk, "disk", "1.5MiB", "bytes per second that each server's disk reads")
	flags.DurationVar(&b.Storage.Seek, "seek", 8*time.Millisecond, "what each read of a file takes besides")
	flags.BoolVar(&f.quick, "quick", false, "in less than a minute: a look, no measurement")
}

// quicken changes what the user did not set.
func (f *benchLocalityFlags) quicken(set func(flag string) bool) {
	load := &f.bench.Load
	for flag, change := range map[string]func(){
		"files": func() { load.Files.Directories = 12 },
		"cache": func() { f.cache = "7MiB" },
		"rate":  func() { load.Rate = 50 },
		"line":  func() { load.Line = 150_000 },
		"warm":  func() { load.Warm = 2 * time.Second },
		"for":   func() { load.For = 8 * time.Second },
		"pairs": func() { f.bench.Pairs = 100 },
	} {
		if !set(flag) {
			change()
		}
	}
}

func runBenchLocality(ctx context.Context, e *env, f benchLocalityFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	stop := passTime(e, f.bench.Estimate())
	started := e.now().UTC()
	result, failed := f.bench.Run(ctx)
	stop()
	report := localityReport{
		Schema: localityReportSchema, Started: started, Parameters: f.parameters(),
		Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Summary: locality.Summarise(result.Rounds, f.bench.Load.Line), Rounds: result.Rounds, Pairs: result.Pairs,
	}
	if len(result.Pairs) > 0 {
		compared := locality.Compare(result.Pairs)
		report.FirstByte = &compared
	}
	// What was measured before something broke is worth keeping.
	return errors.Join(failed, report.write(e, f))
}

// passTime shows how much of a time is over until it is stopped.
func passTime(e *env, total time.Duration) (stop func()) {
	bar := progressbar.NewOptions64(int64(total.Seconds()), progressbar.OptionSetWriter(e.stderr), progressbar.OptionSetDescription("seconds"),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false))
	_ = bar.RenderBlank() // an error is of the terminal
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range int64(total.Seconds()) - 1 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = bar.Add(1)
			}
		}
	}()
	return func() {
		cancel()
		fmt.Fprintln(e.stderr)
	}
}

// check judges the flags, and reads those that are text.
func (f *benchLocalityFlags) check() error {
	b := &f.bench
	switch {
	case b.Rounds < 0 || b.Pairs < 0 || b.Rounds+b.Pairs == 0:
		return usageErrorf("--rounds %d, --pairs %d: write 0 or more, and one of them above 0", b.Rounds, b.Pairs)
	case !(b.Load.Rate >= 1 && b.Load.Rate <= 10_000):
		return usageErrorf("--rate %g: write 1 to 10000 downloads per second", b.Load.Rate)
	case !(b.Load.Line >= 1000 && b.Load.Line <= 1e9):
		return usageErrorf("--line %g: write 1000 to 1e9 bytes per second", b.Load.Line)
	case b.Load.Warm < 0 || b.Load.For < time.Second:
		return usageErrorf("--warm %v, --for %v: write 0s or more, and 1s or more", b.Load.Warm, b.Load.For)
	case b.Storage.Seek < 0:
		return usageErrorf("--seek %v: write 0s or more", b.Storage.Seek)
	}
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"cache", f.cache, &b.Storage.Cache}, {"disk", f.disk, &b.Storage.Disk}} {
		bytes, err := humanize.ParseBytes(size.text)
		if err != nil || bytes < 1 || bytes > maxOriginSize {
			return usageErrorf("--%s %q: write a size up to 1TiB such as 36MiB", size.flag, size.text)
		}
		*size.to = int64(bytes)
	}
	return f.checkPolicies()
}

func (f *benchLocalityFlags) checkPolicies() error {
	for _, text := range f.policies {
		policy := topology.Policy(text)
		if _, known := locality.Services[policy]; !known || slices.Contains(f.bench.Policies, policy) {
			return usageErrorf("--policies %s: write some of %s, each once", strings.Join(f.policies, ","), knownPolicies())
		}
		f.bench.Policies = append(f.bench.Policies, policy)
	}
	if len(f.policies) == 0 {
		return usageErrorf("--policies: write some of %s", knownPolicies())
	}
	return nil
}

func knownPolicies() string {
	var names []string
	for _, policy := range slices.Sorted(maps.Keys(locality.Services)) {
		names = append(names, string(policy))
	}
	return strings.Join(names, ",")
}

// benchLocalityClientsCommand is the clients' part, which bench locality runs in
// the lab's client host.
func benchLocalityClientsCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: locality.ClientsWords[1], Short: "The clients of bench locality", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return locality.DoJob(cmd.Context(), e.stdin, e.stdout, e.stderr)
		},
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/onevip/onevip/checkpoint"
)

// benchCheckpointFlags are the flags of bench checkpoint.
type benchCheckpointFlags struct {
	json    string
	png     string
	binary  string
	dir     string
	size    string
	pairs   int
	streams []int
	resumes int
}

// benchCheckpointCommand measures what checkpoints cost and what they give: the
// same server, the same file, with plain HTTP and with checkpointed streams.
func benchCheckpointCommand(e *env) *cobra.Command {
	var f benchCheckpointFlags
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Measure checkpointed streams against plain ones: throughput, CPU, memory, time to resume",
		Long: `Run the stream server as a process of its own and download from it on loopback, in
turns by plain HTTP and by checkpointed streams: pairs, so that what else the
machine does hits both. Then count the memory of many slow streams, and kill -9
servers under a stream and time how long it stands still.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBenchCheckpoint(cmd.Context(), e, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.json, "json", "", "write the figures to this file")
	flags.StringVar(&f.png, "png", "", "write the plot to this file")
	flags.StringVar(&f.binary, "binary", "", "onevip binary that serves; default: this one")
	flags.StringVar(&f.dir, "dir", "", "where the test file is made and removed; default: a temporary folder")
	flags.StringVar(&f.size, "size", "1GiB", "bytes of one download")
	flags.IntVar(&f.pairs, "pairs", 10, "downloads of each kind; 0 leaves this part out")
	flags.IntSliceVar(&f.streams, "streams", []int{1, 100, 1000}, "numbers of streams whose memory is measured")
	flags.IntVar(&f.resumes, "resumes", 50, "servers to kill; 0 leaves this part out")
	cmd.AddCommand(benchStreamClientsCommand(e))
	return cmd
}

// checkpointReport is the JSON of bench checkpoint.
type checkpointReport struct {
	Schema     string            `json:"schema"`
	Started    time.Time         `json:"started"`
	Machine    string            `json:"machine"`
	Policy     string            `json:"policy"`
	Summary    checkpointSummary `json:"summary"`
	Throughput *throughputReport `json:"throughput,omitempty"`
	Memory     []memoryReport    `json:"memory,omitempty"`
	Resume     *resumeReport     `json:"resume,omitempty"`
}

// checkpointSummary compares checkpointed with plain: ratios above 1 mean that
// checkpointed has more of it.
type checkpointSummary struct {
	ThroughputRatio float64 `json:"throughput_ratio"`
	CPURatio        float64 `json:"cpu_ratio"` // server and client together, per byte
	MemoryRatio     float64 `json:"memory_ratio"`
	ResumeP50       float64 `json:"resume_p50_ms"`
	ResumeP99       float64 `json:"resume_p99_ms"`
	BytesLost       int64   `json:"bytes_lost"`
	BytesRepeated   int64   `json:"bytes_repeated"`
}

const checkpointReportSchema = "onevip.bench.checkpoint/1"

func runBenchCheckpoint(ctx context.Context, e *env, f benchCheckpointFlags) error {
	b, cleanup, err := newCheckpointBench(e, f)
	if err != nil {
		return err
	}
	defer cleanup()
	report := checkpointReport{
		Schema: checkpointReportSchema, Started: e.now().UTC(),
		Machine: fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Policy:  checkpoint.Adaptive().String(),
	}
	if f.pairs > 0 {
		if report.Throughput, err = b.throughput(ctx, f.pairs); err != nil {
			return err
		}
	}
	for _, n := range f.streams {
		m, err := b.memory(ctx, n)
		if err != nil {
			return err
		}
		report.Memory = append(report.Memory, m)
	}
	if f.resumes > 0 {
		if report.Resume, err = b.resume(ctx, f.resumes); err != nil {
			return err
		}
	}
	report.summarise()
	return report.write(e, f)
}

// summarise fills the summary from the parts that were run.
func (r *checkpointReport) summarise() {
	if t := r.Throughput; t != nil {
		r.Summary.ThroughputRatio, r.Summary.CPURatio = t.ThroughputRatio.Mean, t.CPURatio.Mean
	}
	if n := len(r.Memory); n > 0 {
		r.Summary.MemoryRatio = r.Memory[n-1].Ratio // of the most streams: there noise is least
	}
	if t := r.Resume; t != nil {
		r.Summary.ResumeP50, r.Summary.ResumeP99 = t.P50, t.P99
		r.Summary.BytesLost, r.Summary.BytesRepeated = t.BytesLost, t.BytesRepeated
	}
}

func (r *checkpointReport) write(e *env, f benchCheckpointFlags) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("bench checkpoint: %w", err)
	}
	if f.json != "" {
		if err := os.WriteFile(f.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if f.png != "" {
		if err := plotCheckpoint(r, f.png); err != nil {
			return err
		}
	}
	summary, err := json.MarshalIndent(r.Summary, "", "  ")
	if err != nil {
		return fmt.Errorf("bench checkpoint: %w", err)
	}
	fmt.Fprintln(e.stdout, string(summary))
	return nil
}

// checkpointBench is what the parts of the benchmark share.
type checkpointBench struct {
	e       *env
	binary  string
	dir     string // served
	keyFile string
	size    int64
}

const benchFile = "stamped.bin"

func newCheckpointBench(e *env, f benchCheckpointFlags) (*checkpointBench, func(), error) {
	size, err := humanize.ParseBytes(f.size)
	if err != nil || size < 1<<20 || size > 1<<40 {
		return nil, nil, usageErrorf("--size %q: write a size from 1MiB on, such as 1GiB", f.size)
	}
	for _, n := range f.streams {
		if n < 1 {
			return nil, nil, usageErrorf("--streams %d: want 1 or more", n)
		}
	}
	if f.binary == "" {
		if f.binary, err = os.Executable(); err != nil {
			return nil, nil, fmt.Errorf("bench checkpoint: %w", err)
		}
	}
	base, err := os.MkdirTemp(f.dir, "onevip-bench-")
	if err != nil {
		return nil, nil, fmt.Errorf("bench checkpoint: %w", err)
	}
	cleanup := func() { os.RemoveAll(base) }
	b := &checkpointBench{e: e, binary: f.binary, dir: filepath.Join(base, "media"), keyFile: filepath.Join(base, "keys.json"), size: int64(size)}
	if err := b.prepare(); err != nil {
		cleanup()
		return nil, nil, err
	}
	return b, cleanup, nil
}

func (b *checkpointBench) prepare() error {
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		return fmt.Errorf("bench checkpoint: %w", err)
	}
	if _, err := checkpoint.RotateKeyFile(b.keyFile, 0); err != nil {
		return err
	}
	return writeStamped(filepath.Join(b.dir, benchFile), b.size)
}

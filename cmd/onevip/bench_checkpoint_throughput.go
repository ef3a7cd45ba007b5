// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/stream"
)

// throughputReport compares downloads, pair by pair.
type throughputReport struct {
	FileBytes       int64         `json:"file_bytes"`
	ThroughputRatio ratio         `json:"throughput_ratio"`
	CPURatio        ratio         `json:"cpu_ratio"`
	ServerCPURatio  ratio         `json:"server_cpu_ratio"`
	ClientCPURatio  ratio         `json:"client_cpu_ratio"`
	Checkpoints     int           `json:"checkpoints_per_download"`
	CheckpointSize  int           `json:"checkpoint_bytes"`
	Plain           []downloadRun `json:"plain"`
	Checkpointed    []downloadRun `json:"checkpointed"`
}

// downloadRun is one download.
type downloadRun struct {
	BytesPerSecond  float64 `json:"bytes_per_second"`
	ServerCPUPerGiB float64 `json:"server_cpu_seconds_per_gib"`
	ClientCPUPerGiB float64 `json:"client_cpu_seconds_per_gib"`
}

func (r downloadRun) cpu() float64 { return r.ServerCPUPerGiB + r.ClientCPUPerGiB }

// throughput downloads in turns; in every other pair the order is reversed.
func (b *checkpointBench) throughput(ctx context.Context, pairs int) (*throughputReport, error) {
	server, err := b.serve(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer server.kill()
	report := &throughputReport{FileBytes: b.size}
	for _, plain := range []bool{true, false} { // warm up: page cache, heap, code
		if _, err := b.download(ctx, server, plain, report); err != nil {
			return nil, err
		}
	}
	for i := range pairs {
		for _, plain := range []bool{i%2 == 0, i%2 != 0} {
			run, err := b.download(ctx, server, plain, report)
			if err != nil {
				return nil, err
			}
			if plain {
				report.Plain = append(report.Plain, run)
			} else {
				report.Checkpointed = append(report.Checkpointed, run)
			}
		}
		b.e.log.Info("download pair done", "pair", i+1, "of", pairs)
	}
	report.compare()
	return report, nil
}

func (r *throughputReport) compare() {
	of := func(field func(downloadRun) float64) ratio {
		ratios := make([]float64, len(r.Plain))
		for i := range r.Plain {
			ratios[i] = field(r.Checkpointed[i]) / field(r.Plain[i])
		}
		return ratioOf(ratios)
	}
	r.ThroughputRatio = of(func(d downloadRun) float64 { return d.BytesPerSecond })
	r.CPURatio = of(downloadRun.cpu)
	r.ServerCPURatio = of(func(d downloadRun) float64 { return d.ServerCPUPerGiB })
	r.ClientCPURatio = of(func(d downloadRun) float64 { return d.ClientCPUPerGiB })
}

// download gets the file once and measures both sides.
func (b *checkpointBench) download(ctx context.Context, server *streamProcess, plain bool, report *throughputReport) (downloadRun, error) {
	var used atomic.Pointer[checkpoint.Stream]
	rt := benchTransport(server.url, plain, &used)
	defer rt.CloseIdleConnections()
	serverBefore, err := server.cpu()
	if err != nil {
		return downloadRun{}, err
	}
	clientBefore, err := processCPU(os.Getpid())
	if err != nil {
		return downloadRun{}, err
	}
	start := time.Now()
	n, err := stream.Fetch(ctx, rt, server.url, "", io.Discard, nil)
	took := time.Since(start)
	if err == nil && n != b.size {
		err = fmt.Errorf("download: got %d bytes of %d", n, b.size)
	}
	if err != nil {
		return downloadRun{}, err
	}
	if s := used.Load(); s != nil {
		st := s.Stats()
		report.Checkpoints, report.CheckpointSize = st.Checkpoints, st.CheckpointSize
	}
	serverAfter, err := server.cpu()
	if err != nil {
		return downloadRun{}, err
	}
	clientAfter, err := processCPU(os.Getpid())
	if err != nil {
		return downloadRun{}, err
	}
	perGiB := float64(1<<30) / float64(n)
	return downloadRun{
		BytesPerSecond:  float64(n) / took.Seconds(),
		ServerCPUPerGiB: (serverAfter - serverBefore).Seconds() * perGiB,
		ClientCPUPerGiB: (clientAfter - clientBefore).Seconds() * perGiB,
	}, nil
}

// benchTransport is a new connection, of the one kind or the other.
func benchTransport(u *url.URL, plain bool, used *atomic.Pointer[checkpoint.Stream]) *http.Transport {
	if plain {
		return &http.Transport{DisableCompression: true}
	}
	return stream.NewTransport(u, stream.TransportOptions{
		OnStream: func(s *checkpoint.Stream) { used.Store(s) },
	})
}

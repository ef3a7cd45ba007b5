// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/stream"
)

// resumeReport is how long a stream stood still when its server was killed.
type resumeReport struct {
	Kills         int       `json:"kills"`
	P50           float64   `json:"p50_ms"` // from the kill to the next byte
	P99           float64   `json:"p99_ms"`
	Max           float64   `json:"max_ms"`
	BytesReceived int64     `json:"bytes_received"`
	BytesLost     int64     `json:"bytes_lost"`
	BytesRepeated int64     `json:"bytes_repeated"`
	Samples       []float64 `json:"samples_ms"`
}

const (
	resumeRate    = "80M" // of the stream that is interrupted
	resumeBetween = 200 * time.Millisecond
)

// resume runs a stream over two servers and kills the one that serves it, again
// and again.
func (b *checkpointBench) resume(ctx context.Context, kills int) (*resumeReport, error) {
	r := &resumeRun{bench: b, resumed: make(chan time.Time, 1)}
	defer r.stop()
	for i := range r.servers {
		if err := r.start(ctx, i); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched := make(chan error, 1)
	u := r.servers[0].url
	go func() { fetched <- r.fetchUntil(ctx, u) }()
	report := &resumeReport{Kills: kills}
	histogram := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	for range kills {
		outage, err := r.killServing(ctx, fetched)
		if err != nil {
			return nil, err
		}
		if err := histogram.RecordValue(outage.Microseconds()); err != nil {
			return nil, fmt.Errorf("an outage of %s: %w", outage, err)
		}
		report.Samples = append(report.Samples, milliseconds(outage))
	}
	cancel()
	if err := <-fetched; err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	report.P50 = milliseconds(time.Duration(histogram.ValueAtQuantile(50)) * time.Microsecond)
	report.P99 = milliseconds(time.Duration(histogram.ValueAtQuantile(99)) * time.Microsecond)
	report.Max = milliseconds(time.Duration(histogram.Max()) * time.Microsecond)
	report.BytesReceived = r.totals.total
	report.BytesLost, report.BytesRepeated = r.totals.lost, r.totals.repeated
	return report, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// resumeRun is the stream, and the servers below it.
type resumeRun struct {
	bench   *checkpointBench
	resumed chan time.Time // first byte after an outage
	totals  stampChecker

	mu      sync.Mutex
	servers [2]*streamProcess // written by the killing side only
	serving int               // index of the server that the stream is connected to
	waiting bool              // a server was killed; no byte came since
}

func (r *resumeRun) start(ctx context.Context, i int) error {
	p, err := r.bench.serve(ctx, "127.0.0.1:0", "--rate", resumeRate, "--burst", "1s")
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers[i] = p
	return nil
}

func (r *resumeRun) stop() {
	for _, p := range r.servers {
		if p != nil {
			p.kill()
		}
	}
}

// connect goes to the servers in turn, as one address in front of both would.
func (r *resumeRun) connect(ctx context.Context) (net.Conn, error) {
	r.mu.Lock()
	r.serving = 1 - r.serving
	u := r.servers[r.serving].url
	r.mu.Unlock()
	return stream.Connector(u, nil)(ctx)
}

// fetchUntil gets the file over and over on one stream.
func (r *resumeRun) fetchUntil(ctx context.Context, u *url.URL) error {
	rt := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		return checkpoint.Dial(ctx, addr, checkpoint.Options{Connect: r.connect, Service: stream.Service})
	}}
	for ctx.Err() == nil {
		check := &stampChecker{}
		n, err := stream.Fetch(ctx, rt, u, "", writerFunc(func(p []byte) (int, error) {
			r.sawByte()
			return check.Write(p)
		}), nil)
		r.totals.total += check.total
		r.totals.lost += check.lost
		r.totals.repeated += check.repeated
		if err == nil && n != r.bench.size {
			r.totals.lost += r.bench.size - n
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (r *resumeRun) sawByte() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting {
		r.waiting = false
		r.resumed <- time.Now()
	}
}

// killServing kills the server that serves, waits for the stream to go on, and
// starts another one in its place.
func (r *resumeRun) killServing(ctx context.Context, fetched <-chan error) (time.Duration, error) {
	select {
	case <-time.After(resumeBetween):
	case err := <-fetched:
		return 0, fmt.Errorf("resume: stream ended early: %w", err)
	}
	r.mu.Lock()
	victim := r.serving
	r.mu.Unlock()
	start := time.Now()
	r.servers[victim].kill()
	r.mu.Lock()
	r.waiting = true
	r.mu.Unlock()
	select {
	case at := <-r.resumed:
		return at.Sub(start), r.start(ctx, victim)
	case err := <-fetched:
		return 0, fmt.Errorf("resume: stream ended: %w", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/onevip/onevip/labs/workload"
)

// patience bounds one download beyond what its line takes.
const patience = 30 * time.Second

// primers is how many clients ask side by side while caches are primed.
const primers = 16

// Load is what clients do during one run.
type Load struct {
	VIP   netip.AddrPort
	From  netip.Addr    // first client address
	Froms int           // so many of them, counted up
	Line  float64       // bytes per second of each download
	Rate  float64       // new downloads per second, open loop
	Warm  time.Duration // so long they do not count
	For   time.Duration // so long after that they do
	Seed  uint64
	Files workload.Spec
	// Primed: each file is asked for once before, as fast as may be, the most
	// popular ones last. A run is too short to see every rare file for the first
	// time before it counts.
	Primed bool
}

// Run makes the load. It calls counting when the downloads begin to count, and
// returns when all are done.
func (l Load) Run(ctx context.Context, counting func()) (Trace, error) {
	files, err := workload.New(l.Files)
	if err != nil {
		return Trace{}, err
	}
	all := schedule(l.Seed, l.Rate, l.Warm+l.For, files)
	warm := slices.IndexFunc(all, func(d due) bool { return d.at >= l.Warm })
	if warm < 0 {
		return Trace{}, errors.New("no download would count: the rate is too low, or the time too short")
	}
	if l.Primed {
		if err := l.prime(ctx, files.Files()); err != nil {
			return Trace{}, fmt.Errorf("prime the caches: %w", err)
		}
	}
	downloads, err := l.begin(ctx, all, func(i int) {
		if i == warm {
			counting()
		}
	})
	if err != nil {
		return Trace{}, err
	}
	return Trace{Warmed: warm, Downloads: downloads[warm:]}, nil
}

func (l Load) prime(ctx context.Context, files []workload.File) error {
	slices.Reverse(files)
	l.Line = math.MaxInt32
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(primers)
	for i, f := range files {
		work.Go(func() error {
			if got := l.download(ctx, i, due{file: f}); got.Err != "" {
				return fmt.Errorf("GET %s: %s", f.Name, got.Err)
			}
			return nil
		})
	}
	return work.Wait()
}

// begin begins each download when it is due, whether or not earlier ones are done,
// and waits for all of them.
func (l Load) begin(ctx context.Context, all []due, beginning func(i int)) ([]Download, error) {
	downloads := make([]Download, len(all))
	begun := time.Now()
	var running sync.WaitGroup
	defer running.Wait()
	for i, d := range all {
		beginning(i)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Until(begun.Add(d.at))):
		}
		running.Go(func() { downloads[i] = l.download(ctx, i, d) })
	}
	running.Wait()
	return downloads, nil
}

// download takes its time from where it begins: a client that has to wait for a
// CPU before that is no matter of the cluster.
func (l Load) download(ctx context.Context, i int, d due) Download {
	limit := patience + time.Duration(float64(d.file.Bytes)/l.Line*float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got := Download{At: d.at, Path: d.file.Name, Class: d.file.Class, Bytes: d.file.Bytes}
	begun := time.Now()
	answer, err := get(ctx, l.from(i), l.VIP, d.file.Name)
	got.First = time.Since(begun)
	if err == nil {
		defer answer.close()
		got.Node, got.Hit = answer.node(), answer.hit()
		line := line{rate: l.Line, free: time.Now()}
		var n int64
		if n, err = line.take(ctx, answer.Body); err == nil && n != d.file.Bytes {
			err = fmt.Errorf("got %d bytes of %d", n, d.file.Bytes)
		}
	}
	got.Took = time.Since(begun)
	if err != nil {
		got.Err = err.Error()
	}
	return got
}

// from is the address of the i-th client.
func (l Load) from(i int) netip.Addr {
	from := l.From
	for range i % l.Froms {
		from = from.Next()
	}
	return from
}

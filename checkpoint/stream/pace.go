// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Pace says how fast a server sends.
type Pace struct {
	// Auto paces each file at the bitrate found in it (MPEG-TS, MP4), and
	// others at Rate.
	Auto bool
	// Rate in bytes per second; 0 = as fast as it can.
	Rate float64
	// Burst is how much of playing time is sent at once. Default: 5 s.
	Burst time.Duration
	// Backlog is how many bytes of a live source a new client gets at once.
	Backlog int
}

const (
	defaultBurst = 5 * time.Second
	// headroom over the bitrate: a player that fell behind can catch up.
	headroom = 1.05
	// paceStep is the time between two writes at the pace.
	paceStep     = 50 * time.Millisecond
	minPaceChunk = 1316 // seven MPEG-TS packets
)

// ParsePace reads "auto", "off", or a bitrate such as "4M", "800k" or
// "2500000" in bits per second.
func ParsePace(text string) (Pace, error) {
	switch text {
	case "auto":
		return Pace{Auto: true}, nil
	case "", "off":
		return Pace{}, nil
	}
	number, unit := text, 1.0
	switch {
	case strings.HasSuffix(text, "k"):
		number, unit = text[:len(text)-1], 1e3
	case strings.HasSuffix(text, "M"):
		number, unit = text[:len(text)-1], 1e6
	}
	bits, err := strconv.ParseFloat(number, 64)
	if perSecond := bits * unit; err != nil || !(perSecond >= 8 && perSecond <= 1e12) { // NaN neither
		return Pace{}, fmt.Errorf("rate %q: want auto, off, or bits per second such as 800k or 4M", text)
	}
	return Pace{Rate: bits * unit / 8}, nil
}

// pacer lets bytes through at a rate.
type pacer struct {
	limit *rate.Limiter
	most  int // bytes that may be asked for at once
}

// newPacer returns nil for a rate of 0: no pacing.
func newPacer(bytesPerSecond float64, burst time.Duration) *pacer {
	if bytesPerSecond <= 0 {
		return nil
	}
	if burst <= 0 {
		burst = defaultBurst
	}
	most := max(int(bytesPerSecond*paceStep.Seconds()), minPaceChunk)
	depth := max(int(bytesPerSecond*burst.Seconds()), most)
	return &pacer{limit: rate.NewLimiter(rate.Limit(bytesPerSecond), depth), most: most}
}

func (p *pacer) wait(ctx context.Context, n int) error { return p.limit.WaitN(ctx, n) }

// pacer returns the pacer for one response of f, or nil.
func (s *Server) pacer(f *media) *pacer {
	perSecond := s.opts.Pace.Rate
	if s.opts.Pace.Auto {
		if found := s.rates.of(f); found > 0 {
			perSecond = found * headroom
		}
	}
	return newPacer(perSecond, s.opts.Pace.Burst)
}

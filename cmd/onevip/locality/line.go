// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"context"
	"io"
	"time"
)

// piece is how much a client reads at a time: 40 ms of a line of 100 kB/s.
const piece = 4 << 10

// queued is what may wait in front of a line while the client looks elsewhere. A
// longer stall is lost for good: no line makes up for time.
const queued = 20 * time.Millisecond

// line is a client's slow line: bytes come through it at its rate, and no faster.
type line struct {
	rate float64   // bytes per second
	free time.Time // when it has taken what came so far
}

// take reads everything, as fast as the line allows, and gives the number of
// bytes. It returns when the line is through with the last one.
func (l *line) take(ctx context.Context, from io.Reader) (total int64, err error) {
	buffer := make([]byte, piece)
	for {
		n, err := from.Read(buffer)
		total += int64(n)
		l.carry(n, time.Now())
		if err == io.EOF {
			return total, l.wait(ctx)
		}
		if err != nil {
			return total, err
		}
		if err := l.wait(ctx); err != nil {
			return total, err
		}
	}
}

// carry gives the line n bytes to carry, which came now.
func (l *line) carry(n int, now time.Time) {
	if idle := now.Add(-queued); l.free.Before(idle) {
		l.free = idle
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
}

func (l *line) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(l.free)):
		return nil
	}
}

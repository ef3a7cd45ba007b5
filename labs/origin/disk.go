// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// chunk is what the disk reads at once; reads that go on at the same time take
// turns by it.
const chunk = 64 << 10

// disk is slow storage that all reads share: so many bytes a second, and a seek
// before each file, during which nothing else is read.
//
// It is a token bucket in the form that keeps the time when the next token is
// there (virtual scheduling, ITU-T I.371). One that keeps tokens, as
// rate.Limiter does, needs a burst, which gives an idle disk's seeks away.
type disk struct {
	rate  float64 // bytes a second
	seek  time.Duration
	bytes atomic.Int64 // read so far

	lock sync.Mutex
	free time.Time // when the head is free; lock guards it
}

func newDisk(bytesPerSecond int64, seek time.Duration) *disk {
	return &disk{rate: float64(bytesPerSecond), seek: seek}
}

// read takes the time that so many bytes need, and tells how far it got.
func (d *disk) read(ctx context.Context, bytes int64, progress func(have int64)) error {
	at := d.occupy(time.Now(), d.seek)
	for have := int64(0); have < bytes; {
		part := min(bytes-have, chunk)
		at = d.occupy(at, time.Duration(float64(part)/d.rate*float64(time.Second)))
		if err := sleepUntil(ctx, at); err != nil {
			return err
		}
		d.bytes.Add(part)
		have += part
		progress(have)
	}
	return nil
}

// occupy takes the head for a while, from when the caller is ready and the head
// is free, and gives the time at which that is over. A read is ready when its
// last chunk was due, not when it woke up: waking up late costs no capacity.
func (d *disk) occupy(ready time.Time, span time.Duration) time.Time {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.free.Before(ready) {
		d.free = ready
	}
	d.free = d.free.Add(span)
	return d.free
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

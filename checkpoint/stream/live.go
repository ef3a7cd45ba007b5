// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Live is a live source: the newest bytes of an endless stream, each known by
// its absolute position since the source began. A position means the same at
// two servers if they have it from the same source, and the same run of it:
// the epoch.
type Live struct {
	mu      sync.Mutex
	ring    []byte
	epoch   string // "" until something is known
	start   uint64 // position of the oldest byte held
	end     uint64 // position after the newest
	done    bool   // the source has ended
	changed chan struct{}
}

// Errors of reading a live source.
var (
	errLiveGone  = errors.New("live data is no longer here")
	errLiveEpoch = errors.New("the live source was started anew")
)

// liveChunk is what one read moves at most.
const liveChunk = 64 << 10

// liveAlign: a new client begins at a multiple of it, so that it gets whole
// MPEG-TS packets if the source is MPEG-TS.
const liveAlign = tsPacket

// NewLive makes a source that holds the newest size bytes. Feed or Follow
// fills it.
func NewLive(size int) *Live {
	return &Live{ring: make([]byte, max(size, liveChunk)), changed: make(chan struct{})}
}

// Feed fills the source from r, an encoder's pipe, until io.EOF, which ends all
// its streams. Positions count from the beginning of r, which begins an epoch:
// they mean nothing to a server that is fed by another pipe.
func (l *Live) Feed(r io.Reader) error {
	l.restart(newEpoch(), 0)
	err := l.fill(r)
	l.finish()
	return err
}

func newEpoch() string { return rand.Text() }

// fill appends all of r.
func (l *Live) fill(r io.Reader) error {
	buf := make([]byte, liveChunk)
	for {
		n, err := r.Read(buf)
		l.append(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("live source: %w", err)
		}
	}
}

// restart begins another run of the source.
func (l *Live) restart(epoch string, at uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.start, l.end, l.done = epoch, at, at, false
	l.wake()
}

func (l *Live) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	l.wake()
}

// wake is under mu.
func (l *Live) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Live) append(p []byte) {
	if len(p) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p) > 0 {
		n := copy(l.ring[l.end%uint64(len(l.ring)):], p)
		l.end += uint64(n)
		p = p[n:]
	}
	if held := uint64(len(l.ring)); l.end-l.start > held {
		l.start = l.end - held
	}
	l.wake()
}

func (l *Live) oldest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// position returns the epoch and the position after the newest byte.
func (l *Live) position() (epoch string, end uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch, l.end
}

// begin waits for data and returns where a new client starts: backlog bytes
// before the newest.
func (l *Live) begin(ctx context.Context, backlog int) (epoch string, at uint64, err error) {
	for {
		l.mu.Lock()
		epoch, changed := l.epoch, l.changed
		at = max(l.end-min(uint64(max(backlog, 0)), l.end), l.start)
		ready := l.epoch != "" && (l.end > l.start || l.done)
		end := l.end
		l.mu.Unlock()
		if ready {
			return epoch, min(alignUp(at), end), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", 0, context.Cause(ctx)
		}
	}
}

func alignUp(at uint64) uint64 { return (at + liveAlign - 1) / liveAlign * liveAlign }

// read copies what follows at, waiting for it. It returns io.EOF at the
// source's end, errLiveGone when the ring has moved on, errLiveEpoch after a
// restart of the source.
func (l *Live) read(ctx context.Context, p []byte, epoch string, at uint64) (int, error) {
	for {
		n, changed, err := l.tryRead(p, epoch, at)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (l *Live) tryRead(p []byte, epoch string, at uint64) (int, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.epoch == "":
		return 0, l.changed, nil // a server that just started
	case l.epoch != epoch:
		return 0, nil, errLiveEpoch
	case at < l.start:
		return 0, nil, fmt.Errorf("%w: position %d, oldest here %d", errLiveGone, at, l.start)
	case at < l.end:
		p = p[:min(uint64(len(p)), l.end-at)]
		n := copy(p, l.ring[at%uint64(len(l.ring)):])
		return n + copy(p[n:], l.ring), nil, nil
	case l.done:
		return 0, nil, io.EOF
	}
	return 0, l.changed, nil
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"time"
)

// chunker decides how much of a file goes out as one frame: as much as the
// client takes in about chunkTime, so that checkpoints can come in between and
// a fast client costs few system calls; or what the pace says.
type chunker struct {
	pacer *pacer
	size  int64
	given time.Time // when the last chunk was given out
}

const (
	minChunk  = 64 << 10
	firstSize = 1 << 20 // goes into the socket's buffer at once, whatever the client
	maxChunk  = 64 << 20
	chunkTime = 40 * time.Millisecond
)

func newChunker(p *pacer) *chunker { return &chunker{pacer: p, size: firstSize} }

// next returns the size of the next chunk, at most left, when it may be sent.
func (c *chunker) next(ctx context.Context, left int64) (int64, error) {
	if c.pacer != nil {
		n := min(left, int64(c.pacer.most))
		return n, c.pacer.wait(ctx, int(n))
	}
	now := time.Now()
	if !c.given.IsZero() {
		c.size = resize(c.size, now.Sub(c.given))
	}
	c.given = now
	return min(left, c.size), ctx.Err()
}

// resize is the size after one that took so long.
func resize(size int64, took time.Duration) int64 {
	switch {
	case took < chunkTime/8:
		return min(4*size, maxChunk)
	case took < chunkTime/2:
		return min(2*size, maxChunk)
	case took > 2*chunkTime:
		return max(size/2, minChunk)
	}
	return size
}

// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"container/list"
	"context"
	"sync"

	"github.com/onevip/onevip/labs/workload"
)

// Outcome is where an answer came from; the header X-Cache says it.
type Outcome string

// Shared joined the read of another request: no byte of it came from the disk
// twice, but its client waited for the disk all the same.
const (
	Hit    Outcome = "hit"
	Miss   Outcome = "miss"
	Shared Outcome = "shared"
)

// cache holds whole files, the most recently used ones, up to limit bytes. A
// read that began goes on to its end, whether or not its client waits for it.
type cache struct {
	limit int64
	disk  *disk
	reads sync.WaitGroup
	ctx   context.Context // of the reads
	end   context.CancelFunc

	lock  sync.Mutex // guards what follows
	files map[string]*list.Element
	order *list.List // of *held, the one used last in front
	used  int64      // bytes of those that are kept, never above limit
	// coming is the part of used whose reads go on: it can't be evicted.
	coming int64
}

func newCache(limit int64, d *disk) *cache {
	ctx, end := context.WithCancel(context.Background())
	return &cache{limit: limit, disk: d, ctx: ctx, end: end, files: map[string]*list.Element{}, order: list.New()}
}

// close ends the reads that go on, and lets none begin.
func (c *cache) close() {
	c.lock.Lock()
	c.end()
	c.lock.Unlock()
	c.reads.Wait()
}

// open finds a file, or begins to read it.
func (c *cache) open(file workload.File) (*held, Outcome) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if at, found := c.files[file.Name]; found {
		c.order.MoveToFront(at)
		h := at.Value.(*held)
		if h.complete() {
			return h, Hit
		}
		return h, Shared
	}
	h := newHeld(file)
	if err := c.ctx.Err(); err != nil {
		h.grow(0, err)
		return h, Miss
	}
	c.makeRoom(h)
	c.files[file.Name] = c.order.PushFront(h)
	c.reads.Go(func() { c.read(h) })
	return h, Miss
}

// peek tells what open would, and changes nothing.
func (c *cache) peek(file workload.File) Outcome {
	c.lock.Lock()
	defer c.lock.Unlock()
	at, found := c.files[file.Name]
	switch {
	case !found:
		return Miss
	case at.Value.(*held).complete():
		return Hit
	default:
		return Shared
	}
}

// makeRoom evicts what was not used for longest until h fits. If it can't fit,
// nothing is evicted and h is not kept. The caller holds the lock.
func (c *cache) makeRoom(h *held) {
	if h.file.Bytes > c.limit-c.coming {
		return
	}
	for at := c.order.Back(); at != nil && c.used+h.file.Bytes > c.limit; {
		old, newer := at, at.Prev()
		if old.Value.(*held).complete() {
			c.drop(old)
		}
		at = newer
	}
	h.kept = true
	c.used += h.file.Bytes
	c.coming += h.file.Bytes
}

// drop forgets a file. The caller holds the lock.
func (c *cache) drop(at *list.Element) {
	h := c.order.Remove(at).(*held)
	delete(c.files, h.file.Name)
	if h.kept {
		c.used -= h.file.Bytes
	}
}

// read brings a file from the disk.
func (c *cache) read(h *held) {
	var have int64
	err := c.disk.read(c.ctx, h.file.Bytes, func(now int64) {
		have = now
		if have < h.file.Bytes {
			h.grow(have, nil)
		}
	})
	c.lock.Lock()
	defer c.lock.Unlock()
	if h.kept {
		c.coming -= h.file.Bytes
	}
	h.grow(have, err)
	if err != nil || !h.kept {
		c.drop(c.files[h.file.Name])
	}
}

// flush forgets all files but those whose reads go on.
func (c *cache) flush() {
	c.lock.Lock()
	defer c.lock.Unlock()
	for at := c.order.Front(); at != nil; {
		next := at.Next()
		if at.Value.(*held).complete() {
			c.drop(at)
		}
		at = next
	}
}

// holds gives the bytes that are kept, and of how many files.
func (c *cache) holds() (bytes int64, files int) {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.used, len(c.files)
}

// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onevip/onevip/labs/workload"
)

// The tests' disk: a megabyte a second. All of this is in synctest bubbles,
// whose time costs nothing.
const (
	rateOfTests = 1 << 20
	seekOfTests = 10 * time.Millisecond
)

func bubble(t *testing.T, limit int64, story func(*testing.T, *cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(limit, newDisk(rateOfTests, seekOfTests))
		defer c.close()
		story(t, c)
		checkSums(t, c)
	})
}

func file(name string, bytes int64) workload.File { return workload.File{Name: name, Bytes: bytes} }

// fetch opens a file and waits until all of it is there.
func fetch(t *testing.T, c *cache, f workload.File) Outcome {
	t.Helper()
	h, outcome := c.open(f)
	awaitAll(t, h)
	return outcome
}

func awaitAll(t *testing.T, h *held) {
	t.Helper()
	if have, err := h.await(t.Context(), h.file.Bytes-1); err != nil || have != h.file.Bytes {
		t.Errorf("%s: %d bytes of %d, error %v", h.file.Name, have, h.file.Bytes, err)
	}
}

// checkSums waits for all reads and counts the cache again.
func checkSums(t *testing.T, c *cache) {
	t.Helper()
	c.reads.Wait()
	var sum int64
	for at := c.order.Front(); at != nil; at = at.Next() {
		sum += at.Value.(*held).file.Bytes
	}
	if sum != c.used || c.used > c.limit || c.coming != 0 || c.order.Len() != len(c.files) {
		t.Errorf("limit %d: %d bytes in use, %d found, %d to come, %d and %d files",
			c.limit, c.used, sum, c.coming, c.order.Len(), len(c.files))
	}
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	a, b, d := file("a", 10), file("b", 11), file("d", 12)
	bubble(t, 25, func(t *testing.T, c *cache) {
		steps := []struct {
			file workload.File
			want Outcome
		}{{a, Miss}, {b, Miss}, {a, Hit}, {d, Miss}, {a, Hit}, {b, Miss}, {a, Hit}, {d, Miss}, {b, Miss}}
		for i, step := range steps {
			before := c.peek(step.file)
			if got := fetch(t, c, step.file); got != step.want || before != got {
				t.Errorf("step %d, %s: %s, then %s, want %s", i, step.file.Name, before, got, step.want)
			}
		}
		if got := c.disk.bytes.Load(); got != 10+11+12+11+12+11 {
			t.Errorf("%d bytes from the disk", got)
		}
	})
}

// Who asks while a file is read waits for the same read.
func TestOneReadForAll(t *testing.T) {
	bubble(t, 1<<20, func(t *testing.T, c *cache) {
		a := file("a", 500_000)
		outcomes := make(chan Outcome, 20)
		var group sync.WaitGroup
		for range cap(outcomes) {
			group.Go(func() { outcomes <- fetch(t, c, a) })
		}
		group.Wait()
		close(outcomes)
		counts := map[Outcome]int{}
		for o := range outcomes {
			counts[o]++
		}
		if counts[Miss] != 1 || counts[Shared] != cap(outcomes)-1 || c.disk.bytes.Load() != a.Bytes {
			t.Errorf("%v, %d bytes from the disk", counts, c.disk.bytes.Load())
		}
		if got := c.peek(a); got != Hit {
			t.Errorf("then: %s", got)
		}
	})
}

// A file for which there can be no room is shared while it is read, and makes
// nobody go.
func TestTooLarge(t *testing.T) {
	bubble(t, 100, func(t *testing.T, c *cache) {
		small, large := file("small", 60), file("large", 101)
		fetch(t, c, small)
		h, first := c.open(large)
		_, second := c.open(large)
		awaitAll(t, h)
		if first != Miss || second != Shared {
			t.Errorf("%s, %s", first, second)
		}
		if got := fetch(t, c, large); got != Miss {
			t.Errorf("once more: %s", got)
		}
		if got := fetch(t, c, small); got != Hit {
			t.Errorf("the small one: %s", got)
		}
	})
}

// What is still read can't go, so what comes finds no room.
func TestReadsKeepTheirRoom(t *testing.T) {
	bubble(t, 25, func(t *testing.T, c *cache) {
		a, b := file("a", 20), file("b", 10)
		reading, _ := c.open(a)
		homeless, _ := c.open(b)
		awaitAll(t, reading)
		awaitAll(t, homeless)
		c.reads.Wait()
		if c.peek(a) != Hit || c.peek(b) != Miss {
			t.Errorf("a: %s, b: %s", c.peek(a), c.peek(b))
		}
	})
}

func TestFlush(t *testing.T) {
	bubble(t, 1<<20, func(t *testing.T, c *cache) {
		a, b := file("a", 10), file("b", 500_000)
		fetch(t, c, a)
		reading, _ := c.open(b)
		c.flush()
		if c.peek(a) != Miss || c.peek(b) != Shared {
			t.Errorf("a: %s, b: %s", c.peek(a), c.peek(b))
		}
		awaitAll(t, reading)
	})
}

// Reads share the disk: two take twice as long as one, and a seek takes its
// time, also when the disk was idle for long.
func TestDiskIsShared(t *testing.T) {
	tests := []struct {
		together int
		bytes    int64
	}{{1, 1}, {1, 4 << 20}, {2, 4 << 20}, {5, 4<<20 + 1}}
	for _, tt := range tests {
		bubble(t, 1<<30, func(t *testing.T, c *cache) {
			time.Sleep(time.Minute)
			began := time.Now()
			for i := range tt.together {
				c.open(file(fmt.Sprint(i), tt.bytes))
			}
			c.reads.Wait()
			each := seekOfTests + time.Duration(tt.bytes)*time.Second/rateOfTests
			missed := time.Since(began) - time.Duration(tt.together)*each
			if missed.Abs() > time.Microsecond {
				t.Errorf("%d reads of %d bytes took %v too long", tt.together, tt.bytes, missed)
			}
		})
	}
}

// Bytes are there as they come, not at the end.
func TestBytesAsTheyCome(t *testing.T) {
	bubble(t, 1<<20, func(t *testing.T, c *cache) {
		h, _ := c.open(file("a", 1_000_000))
		for offset := int64(0); offset < h.file.Bytes; {
			have, err := h.await(t.Context(), offset)
			if err != nil || have <= offset || have > offset+chunk {
				t.Fatalf("at %d: %d, error %v", offset, have, err)
			}
			offset = have
		}
	})
}

// Whoever waits is told when the cache is closed, or stops when it wants to; the
// read goes on without it.
func TestWaitingEnds(t *testing.T) {
	bubble(t, 1<<20, func(t *testing.T, c *cache) {
		h, _ := c.open(file("a", 500_000))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := h.await(ctx, h.file.Bytes-1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that went away: %v", err)
		}
		awaitAll(t, h)
		h, _ = c.open(file("b", 500_000))
		c.close()
		if _, err := h.await(t.Context(), h.file.Bytes-1); !errors.Is(err, context.Canceled) {
			t.Errorf("closed while it is read: %v", err)
		}
		h, _ = c.open(file("d", 1))
		if _, err := h.await(t.Context(), 0); !errors.Is(err, context.Canceled) {
			t.Errorf("opened after the close: %v", err)
		}
	})
}

// A random crowd leaves the sums right, at each moment within the limit.
func TestCrowd(t *testing.T) {
	bubble(t, 1_000_000, func(t *testing.T, c *cache) {
		var group sync.WaitGroup
		for worker := range uint64(8) {
			group.Go(func() {
				random := rand.New(rand.NewPCG(worker, 1))
				for range 300 {
					i := random.Int64N(40)
					fetch(t, c, file(fmt.Sprint(i), 1+i*i*700))
					if used, _ := c.holds(); used > c.limit {
						t.Errorf("%d bytes of %d", used, c.limit)
					}
					if random.IntN(50) == 0 {
						c.flush()
					}
				}
			})
		}
		group.Wait()
	})
}

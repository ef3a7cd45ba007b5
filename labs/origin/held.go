// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"sync"

	"github.com/onevip/onevip/labs/workload"
)

// held is a file in the cache, or on its way there from the disk.
type held struct {
	file workload.File
	// kept: the cache has room for it. Without, it is let go when the read ends.
	// The cache's lock guards it.
	kept bool

	lock  sync.Mutex
	have  int64         // bytes read so far; lock guards it
	err   error         // why there will be no more; lock guards it
	grown chan struct{} // is closed, and replaced, when have or err changes
}

func newHeld(file workload.File) *held {
	return &held{file: file, grown: make(chan struct{})}
}

// grow says how much has been read, or that the read failed.
func (h *held) grow(have int64, err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.have, h.err = have, err
	close(h.grown)
	h.grown = make(chan struct{})
}

func (h *held) complete() bool {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.have == h.file.Bytes
}

// await waits for a byte beyond offset, and gives how many there are up to now.
func (h *held) await(ctx context.Context, offset int64) (int64, error) {
	for {
		h.lock.Lock()
		have, err, grown := h.have, h.err, h.grown
		h.lock.Unlock()
		if have > offset || err != nil {
			return have, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

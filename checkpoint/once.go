// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"sync"
	"time"
)

// Once makes each checkpoint a token that resumes at most once, for services
// whose side effects must not be repeated. All servers of the service must
// share it. It trades availability for that: a server that dies between the
// claim and its first answer leaves a client whose only checkpoint is used up,
// and which then fails with ErrReplayed.
type Once interface {
	// Claim marks checkpoint seq of a stream, and all before it, as used.
	// seq 0 stands for starting without one. It returns ErrReplayed when seq
	// or a later one was used before. The mark must be kept until the time
	// given.
	Claim(ctx context.Context, stream StreamID, seq uint64, until time.Time) error
}

// MemoryOnce is Once for a single server. The zero value is ready.
type MemoryOnce struct {
	mu     sync.Mutex
	claims map[StreamID]claim
	sweep  time.Time // when the map is next cleared of what is over
}

type claim struct {
	seq   uint64
	until time.Time
}

// memoryOnceSweep is the gap between two clearings.
const memoryOnceSweep = time.Minute

// Claim implements Once.
func (m *MemoryOnce) Claim(_ context.Context, stream StreamID, seq uint64, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	if old, ok := m.claims[stream]; ok && seq <= old.seq {
		return replayed(seq, old.seq)
	}
	if m.claims == nil {
		m.claims = make(map[StreamID]claim)
	}
	m.claims[stream] = claim{seq: seq, until: until}
	return nil
}

func (m *MemoryOnce) expire(now time.Time) {
	if now.Before(m.sweep) {
		return
	}
	m.sweep = now.Add(memoryOnceSweep)
	for id, c := range m.claims {
		if now.After(c.until) {
			delete(m.claims, id)
		}
	}
}

func replayed(seq, used uint64) error {
	return refuse(ReasonReplayed, "checkpoint %d presented, %d was used already", seq, used)
}

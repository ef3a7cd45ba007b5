// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Checkpoint sends state as the stream's checkpoint at this position: with
// state, any server can go on after the last byte written and the last byte of
// input consumed. No read may be in progress; else use CheckpointAt.
func (s *Session) Checkpoint(state []byte) error {
	return s.CheckpointAt(s.Consumed(), state)
}

// CheckpointAt is Checkpoint for an application that reads ahead, or in
// another goroutine: state covers the input up to the offset in, which the
// reading side learned from Consumed. Input after it will come again.
func (s *Session) CheckpointAt(in uint64, state []byte) error {
	if state == nil {
		state = []byte{}
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.seal(Position{In: in, Out: s.out}, state)
}

// Offer is called by the application wherever a checkpoint could be taken:
// encode is called, and its result sent as the checkpoint, if the policy says
// that one is due. It costs next to nothing when not.
func (s *Session) Offer(encode func() []byte) error {
	return s.OfferAt(s.Consumed(), encode)
}

// OfferAt is to Offer as CheckpointAt is to Checkpoint.
func (s *Session) OfferAt(in uint64, encode func() []byte) error {
	if !s.due(in) {
		return nil
	}
	start := time.Now()
	err := s.CheckpointAt(in, encode())
	s.learnCost(time.Since(start))
	return err
}

func (s *Session) due(in uint64) bool {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.srv.opts.Policy.due(uncovered{
		in:      in - s.covered.In,
		out:     s.out - s.covered.Out,
		elapsed: time.Since(s.taken),
		first:   s.seq == 0,
		cost:    s.cost,
		size:    s.size,
		replay:  s.replay,
		hold:    s.hold,
	})
}

// learnCost smooths what checkpoints cost. A write that waited for the client
// is not a cost: only a little more than before is believed at a time.
func (s *Session) learnCost(d time.Duration) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.cost > 0 {
		d = min(d, 2*s.cost)
	}
	s.cost += (min(d, maxCost) - s.cost) / 4
}

// maxCost of one checkpoint that is believed at all.
const maxCost = time.Millisecond

// seal sends a checkpoint. The caller holds wmu.
func (s *Session) seal(pos Position, state []byte) error {
	switch {
	case s.werr != nil:
		return s.werr
	case len(state) > s.srv.opts.MaxState:
		return fmt.Errorf("checkpoint: state of %d bytes, MaxState is %d", len(state), s.srv.opts.MaxState)
	case tokenOverhead+len(state) > s.maxToken:
		return fmt.Errorf("checkpoint: state of %d bytes, the client takes %d", len(state), s.maxToken-tokenOverhead)
	case pos.In < s.covered.In || pos.In > s.arrived.Load():
		return fmt.Errorf("checkpoint: covers input up to %d, want %d to %d", pos.In, s.covered.In, s.arrived.Load())
	}
	now := time.Now()
	b := s.head(header{})
	b = s.srv.sealer.seal(b, s.id, s.seq+1, pos, state, now)
	header{frameCheckpoint, len(b) - headerSize}.put(b)
	s.scratch = b
	if err := s.write(b); err != nil {
		return err
	}
	s.seq++
	s.covered, s.taken, s.size = pos, now, len(b)
	return nil
}

func putOffset(b []byte, offset uint64) { binary.BigEndian.PutUint64(b, offset) }

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"encoding/binary"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// call waits for the answer to one message, which the switch names by its xid.
type call struct {
	xid   uint32
	doing string // in words, for errors
	// answer takes a reply, in the read loop, and says whether it was the last.
	// Nil if the message has no reply but may have an error.
	answer func(m message) (last bool, err error)
	result chan error // one value
}

// register makes a call under a new xid. Whoever registers forgets.
func (s *Session) register(doing string, answer func(message) (bool, error)) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastXid++
	if s.lastXid == 0 { // 0 is the switch's own, for asynchronous messages
		s.lastXid++
	}
	c := &call{xid: s.lastXid, doing: doing, answer: answer, result: make(chan error, 1)}
	s.calls[c.xid] = c
	return c
}

func (s *Session) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.xid)
}

// answer gives a message to the call that it belongs to. What belongs to none
// is counted if it is an error, and ignored otherwise.
func (s *Session) answer(m message) error {
	s.mu.Lock()
	c := s.calls[m.xid]
	s.mu.Unlock()
	if m.kind == of.Type_Error {
		return s.refuse(c, m.body)
	}
	if c == nil || c.answer == nil {
		return nil
	}
	last, err := c.answer(m)
	if last || err != nil {
		c.finish(err)
	}
	return nil
}

// refuse ends a call with the switch's error.
func (s *Session) refuse(c *call, body []byte) error {
	refusal, err := decodeError(body)
	if err != nil {
		return err
	}
	if refusal.Is(ErrNotMaster) {
		s.setMaster(false, 0)
	}
	if c == nil {
		s.refused.Add(1)
		return nil
	}
	refusal.Doing = c.doing
	c.finish(refusal)
	return nil
}

// finish keeps the first result.
func (c *call) finish(err error) {
	select {
	case c.result <- err:
	default:
	}
}

// wait for the result, the end of ctx or of the session.
func (s *Session) wait(ctx context.Context, c *call) error {
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", c.doing, context.Cause(ctx))
	case <-s.Done():
		return fmt.Errorf("%s: session ended: %w", c.doing, s.Err())
	}
}

// do sends one message, made for the call's xid, and waits for the answer.
func (s *Session) do(ctx context.Context, doing string, encode func(xid uint32) ([]byte, error),
	answer func(message) (bool, error)) error {
	c := s.register(doing, answer)
	defer s.forget(c)
	b, err := encode(c.xid)
	if err != nil {
		return err
	}
	if err := s.write(b); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.wait(ctx, c)
}

// expect makes an answer function for a reply of one type.
func expect(kind uint8, read func(body []byte) error) func(message) (bool, error) {
	return func(m message) (bool, error) {
		if m.kind != kind {
			return true, fmt.Errorf("%w: unexpected %v", errShort, m)
		}
		return true, read(m.body)
	}
}

// rawMessage is a header and a body: for the messages that libOpenflow has not.
func rawMessage(kind uint8, xid uint32, body []byte) []byte {
	b := make([]byte, 0, headerLen+len(body))
	b = append(b, of.VERSION, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+len(body)))
	b = binary.BigEndian.AppendUint32(b, xid)
	return append(b, body...)
}

// Barrier waits until the switch has done all that was sent before.
func (s *Session) Barrier(ctx context.Context) error {
	return s.do(ctx, "finish what was sent", func(xid uint32) ([]byte, error) {
		return rawMessage(of.Type_BarrierRequest, xid, nil), nil
	}, expect(of.Type_BarrierReply, func([]byte) error { return nil }))
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// scriptConn is a peer that says what it is given and takes everything.
type scriptConn struct{ *bytes.Reader }

func (scriptConn) Write(p []byte) (int, error)      { return len(p), nil }
func (scriptConn) Close() error                     { return nil }
func (scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (scriptConn) SetDeadline(time.Time) error      { return nil }
func (scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (scriptConn) SetWriteDeadline(time.Time) error { return nil }

// helloFrame is a good beginning for what a client sends.
func helloFrame(token []byte) []byte {
	h := hello{stream: StreamID{1}, maxToken: 1 << 16, replay: 1 << 16, hold: 1 << 16, silence: time.Second, service: "test", token: token}
	return frame(frameHello, h.encode())
}

// FuzzServer feeds a server whatever a client may send.
func FuzzServer(f *testing.F) {
	ring := NewKeyRing(GenerateKey())
	const maxState = 1 << 10
	srv, err := NewServer("test", ring, HandlerFunc(func(_ context.Context, s *Session) error {
		if state, _ := s.Restore(); len(state) > maxState {
			return errors.New("more state than allowed")
		}
		n, err := io.Copy(s, io.LimitReader(s.Input(), 1<<20))
		if err != nil {
			return err
		}
		if uint64(n) != s.Consumed()-s.covered.In {
			return errors.New("lost count of the input")
		}
		return s.Checkpoint([]byte("state"))
	}), ServerOptions{MaxState: maxState, Heartbeat: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	token := srv.sealer.seal(nil, StreamID{1}, 4, Position{}, []byte("state"), time.Now())
	end := frame(frameEnd, nil)
	f.Add([]byte{})
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add(helloFrame(nil))
	f.Add(helloFrame(token))
	f.Add(append(append(helloFrame(token), frame(frameData, []byte("hello"))...), end...))
	f.Add(append(append(helloFrame(nil), frame(frameHeartbeat, nil)...), frame(frameData, nil)...))
	f.Add(append(helloFrame(nil), byte(frameHello), 0, 0, 0, 1, 0))
	f.Add([]byte{byte(frameHello), 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent []byte) {
		err := srv.ServeConn(context.Background(), scriptConn{bytes.NewReader(sent)})
		if err != nil && !errors.Is(err, ErrClientGone) {
			var r *Refusal
			if !errors.As(err, &r) || r.Reason == ReasonApplication {
				t.Errorf("error without a name: %v", err)
			}
		}
	})
}

// FuzzClient feeds a client whatever a server may send.
func FuzzClient(f *testing.F) {
	s := newSealer("test", NewKeyRing(GenerateKey()), time.Hour)
	token := func(seq, in, out uint64) []byte {
		return frame(frameCheckpoint, s.seal(nil, StreamID{}, seq, Position{In: in, Out: out}, []byte("x"), time.Now()))
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	ok := frame(frameAccept, accept{heartbeat: time.Second}.encode())
	held := frame(frameAccept, accept{hold: true, heartbeat: time.Second}.encode())
	data := frame(frameData, []byte("hello"))
	end := frame(frameEnd, nil)
	f.Add([]byte{})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(join(ok, data, end))
	f.Add(join(ok, token(1, 0, 0), data, token(2, 3, 5), frame(frameHeartbeat, nil), end))
	f.Add(join(held, data, token(1, 0, 5), data, end))
	f.Add(join(held, frame(frameData, make([]byte, 5000)), end))
	f.Add(join(ok, frame(frameOffset, make([]byte, 8)), end))
	f.Add(join(ok, frame(frameRefusal, refuse(ReasonState, "x").encode())))
	f.Add(frame(frameRefusal, refuse(ReasonBusy, "x").encode()))
	f.Add(join(ok, []byte{byte(frameCheckpoint), 0xff, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		opts := Options{HoldBuffer: minHold, ReplayBuffer: minHold, MaxCheckpoint: 1 << 10}.withDefaults()
		c := newStream(context.Background(), opts)
		defer c.Close()
		c.recv.stream = StreamID{}
		c.replay.push([]byte("abc")) // input that may be covered
		conn := scriptConn{bytes.NewReader(sent)}
		answer, err := c.handshake(c.ctx, conn, time.Second)
		if err != nil {
			return
		}
		if err := c.recv.accept(answer); err != nil {
			return
		}
		l := newLink(conn, time.Hour)
		c.link = l
		handed := pumpAll(t, c, l)
		if handed > len(sent) {
			t.Errorf("%d bytes handed on of %d", handed, len(sent))
		}
		if c.replay.base > 3 || len(c.recv.token) > opts.MaxCheckpoint || c.stash.size() > minHold {
			t.Errorf("replay from %d, checkpoint of %d bytes, %d bytes stashed", c.replay.base, len(c.recv.token), c.stash.size())
		}
	})
}

// pumpAll reads the link as Read does, until its end, and returns how much was
// handed on.
func pumpAll(t *testing.T, c *Stream, l *link) int {
	handed := 0
	p := make([]byte, 100)
	for {
		n, _, err := c.delivered(p)
		handed += n
		if n > 0 {
			continue
		}
		if err != nil {
			return handed
		}
		n, err = c.step(l, p)
		handed += n
		if err != nil {
			return handed
		}
	}
}

// FuzzToken changes sealed checkpoints: only those that were sealed open.
func FuzzToken(f *testing.F) {
	s := newTestSealer("test", NewKeyRing(GenerateKey()))
	sealed := [][]byte{
		s.seal(nil, StreamID{1}, 1, Position{}, nil, noon),
		s.seal(nil, StreamID{1}, 2, Position{In: 3, Out: 4}, []byte("state"), noon),
	}
	for i, b := range sealed {
		f.Add(uint8(i), uint16(0), byte(0), uint16(len(b)))
		f.Add(uint8(i), uint16(40), byte(1), uint16(len(b)))
		f.Add(uint8(i), uint16(0), byte(0), uint16(len(b)-1))
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, flip byte, length uint16) {
		good := sealed[int(which)%len(sealed)]
		b := bytes.Clone(good[:min(int(length), len(good))])
		if int(at) < len(b) {
			b[at] ^= flip
		}
		_, _, err := s.open(b, StreamID{1}, noon)
		if opened := err == nil; opened != bytes.Equal(b, good) {
			t.Errorf("changed at %d by %#x, cut to %d: error %v", at, flip, length, err)
		}
		var r *Refusal
		if err != nil && !errors.As(err, &r) {
			t.Errorf("error without a name: %v", err)
		}
	})
}

// FuzzHello: what is read is written the same.
func FuzzHello(f *testing.F) {
	f.Add(helloFrame([]byte("token"))[headerSize:])
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := parseHello(p)
		if err != nil {
			return
		}
		if got := h.encode(); !bytes.Equal(got, p) {
			t.Errorf("read %x, written %x", p, got)
		}
	})
}

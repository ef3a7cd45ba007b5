// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listen gives a listener on loopback that gives peers up after a time, and its
// log.
func listen(t *testing.T, dead time.Duration) (*Listener, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	l, err := Listen(context.Background(), "127.0.0.1:0", ListenOptions{
		Echo: 50 * time.Millisecond, Dead: dead, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, log
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestRefusals: whoever is no OpenFlow 1.3 switch is closed within
// ListenOptions.Dead, and the log says why.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, send, want string
	}{
		{"silence", "", "the switch is silent"},
		{"a browser", "GET / HTTP/1.1\r\n\r\n", "version 71 is none of OpenFlow"},
		{"length below a header", "\x04\x00\x00\x03\x00\x00\x00\x01", "less than a header"},
		{"no hello", "\x04\x02\x00\x08\x00\x00\x00\x01", "echo request instead of hello"},
		{"OpenFlow 1.0", "\x01\x00\x00\x08\x00\x00\x00\x01", "does not speak OpenFlow 1.3"},
		{"its own refusal", "\x04\x01\x00\x0f\x00\x00\x00\x01\x00\x00\x00\x00no!", `OFPHFC_INCOMPATIBLE: no common OpenFlow version (\"no!\")`},
		{"hello, then silence", "\x04\x00\x00\x08\x00\x00\x00\x01", "the switch is silent"},
		{"another version later", "\x04\x00\x00\x08\x00\x00\x00\x01\x01\x02\x00\x08\x00\x00\x00\x02", "version 1 in the middle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, log := listen(t, 300*time.Millisecond)
			conn := dial(t, l)
			if _, err := conn.Write([]byte(tt.send)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("the listener keeps the connection: %v", err)
			}
			waitFor(t, "the reason in the log", func() bool { return strings.Contains(log.String(), tt.want) })
		})
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRefusedVersionIsTold: the peer hears in words why it was refused.
func TestRefusedVersionIsTold(t *testing.T) {
	l, _ := listen(t, time.Minute)
	conn := dial(t, l)
	if _, err := conn.Write([]byte("\x01\x00\x00\x08\x00\x00\x00\x07")); err != nil {
		t.Fatal(err)
	}
	hello, err := readMessage(conn)
	if err != nil || hello.kind != of.Type_Hello || !speaks13(hello) {
		t.Fatalf("%v, error %v; want a hello", hello, err)
	}
	m, err := readMessage(conn)
	if err != nil || m.kind != of.Type_Error || m.xid != 7 {
		t.Fatalf("%v with xid %d, error %v; want an error", m, m.xid, err)
	}
	refusal, err := decodeError(m.body)
	if err != nil || refusal.Text != "onevip speaks OpenFlow 1.3 only" {
		t.Errorf("refusal %v, error %v", refusal, err)
	}
}

// TestRefusalLoggedOnce: a switch tries again each second; the log need not.
func TestRefusalLoggedOnce(t *testing.T) {
	l, log := listen(t, time.Minute)
	for range 3 {
		conn := dial(t, l)
		if _, err := conn.Write([]byte("\x01\x00\x00\x08\x00\x00\x00\x01")); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // until it is closed
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "switch refused"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
}

// TestTooManyConnections: strangers can't take more than maxConns.
func TestTooManyConnections(t *testing.T) {
	l, err := Listen(context.Background(), "127.0.0.1:0", ListenOptions{}) // nobody is given up meanwhile
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for range maxConns {
		dial(t, l)
	}
	waitFor(t, "all slots to be taken", func() bool { return len(l.slots) == maxConns })
	if _, err := io.Copy(io.Discard, dial(t, l)); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("one more is kept: %v", err)
	}
}

// peer is the switch's end of a session, played by a test.
type peer struct {
	net.Conn
	t *testing.T
}

// newPeer shakes hands as a switch does and gives both ends.
func newPeer(t *testing.T, l *Listener) (*peer, *Session) {
	t.Helper()
	p := &peer{dial(t, l), t}
	p.send(of.Type_Hello, 1, nil)
	p.expect(of.Type_Hello)
	features := make([]byte, 24)
	binary.BigEndian.PutUint64(features, 0xabc)
	features[12] = 254
	p.send(of.Type_FeaturesReply, p.expect(of.Type_FeaturesRequest).xid, features)
	ports := append([]byte{0, of.MultipartType_PortDesc, 0, 0, 0, 0, 0, 0}, make([]byte, portLen)...)
	p.send(of.Type_MultiPartReply, p.expect(of.Type_MultiPartRequest).xid, ports)
	s, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

func (p *peer) send(kind uint8, xid uint32, body []byte) {
	p.t.Helper()
	if _, err := p.Write(rawMessage(kind, xid, body)); err != nil {
		p.t.Fatal(err)
	}
}

// expect reads up to the next message of a type, answering echo requests.
func (p *peer) expect(kind uint8) message {
	p.t.Helper()
	for {
		m, err := readMessage(p)
		if err != nil {
			p.t.Fatalf("wait for a message of type %d: %v", kind, err)
		}
		if m.kind == kind {
			return m
		}
		if m.kind == of.Type_EchoRequest {
			p.send(of.Type_EchoReply, m.xid, m.body)
		}
	}
}

func TestEchoIsAnswered(t *testing.T) {
	l, _ := listen(t, time.Minute)
	p, s := newPeer(t, l)
	if s.DatapathID() != 0xabc {
		t.Errorf("datapath id %v", s.DatapathID())
	}
	p.send(of.Type_EchoRequest, 99, []byte("there?"))
	if m := p.expect(of.Type_EchoReply); m.xid != 99 || string(m.body) != "there?" {
		t.Errorf("echo reply with xid %d and %q", m.xid, m.body)
	}
}

// TestSlowReaderLosesPacketInsOnly: packets beyond the queue are counted, and
// the barrier behind them is still answered.
func TestSlowReaderLosesPacketInsOnly(t *testing.T) {
	l, _ := listen(t, time.Minute)
	p, s := newPeer(t, l)
	packetIn := append(make([]byte, 16), 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 'x') // empty match
	for range packetInQueue + 10 {
		p.send(of.Type_PacketIn, 0, packetIn)
	}
	done := make(chan error, 1)
	go func() { done <- s.Barrier(t.Context()) }()
	p.send(of.Type_BarrierReply, p.expect(of.Type_BarrierRequest).xid, nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if dropped := s.Counts().PacketInsDropped; dropped != 10 {
		t.Errorf("%d packet-ins dropped, want 10", dropped)
	}
}

// TestTooManyFlows: a switch that never ends its answer is stopped.
func TestTooManyFlows(t *testing.T) {
	l, _ := listen(t, time.Minute)
	p, s := newPeer(t, l)
	done := make(chan error, 1)
	go func() { _, err := s.Installed(t.Context()); done <- err }()
	request := p.expect(of.Type_MultiPartRequest)
	part := append([]byte{0, of.MultipartType_Flow, 0, of.OFPMPF_REPLY_MORE, 0, 0, 0, 0}, bytes.Repeat(make([]byte, 64), 900)...)
	for at := 8; at < len(part); at += 64 {
		copy(part[at:], []byte{0, 64})
		copy(part[at+48:], []byte{0, 1, 0, 4, 0, 0, 0, 0, 0, of.InstrType_GOTO_TABLE, 0, 8, 2})
	}
	for range maxStats/len(part) + 2 {
		p.send(of.Type_MultiPartReply, request.xid, part)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "tells more than") {
		t.Errorf("error %v, want one about too much", err)
	}
}

// TestSessionEnds: a request under way ends with the session, or with its
// context.
func TestSessionEnds(t *testing.T) {
	l, _ := listen(t, time.Minute)
	p, s := newPeer(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Barrier(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("barrier with an ended context: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Barrier(t.Context()) }()
	p.expect(of.Type_BarrierRequest)
	_ = p.Close()
	if err := <-done; !errors.Is(err, ErrHungUp) {
		t.Errorf("barrier of a session that ended: %v", err)
	}
	<-s.Done()
	if err := s.Claim(t.Context(), 1); err == nil {
		t.Error("an ended session was claimed")
	}
	if len(s.calls) != 0 {
		t.Errorf("%d calls are left", len(s.calls))
	}
}

// TestDispatchAnything: no message, in any state, makes the session panic.
func TestDispatchAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() { _, _ = io.Copy(io.Discard, theirs) }() // ends with the pipe
		s := newSession(ours, ListenOptions{}.withDefaults())
		defer s.Close()
		c := s.register("test", expect(of.Type_BarrierReply, func([]byte) error { return nil }))
		defer s.forget(c)
		for range rapid.IntRange(1, 5).Draw(t, "messages") {
			m := message{
				version: of.VERSION,
				kind:    uint8(rapid.IntRange(0, 30).Draw(t, "type")),
				xid:     uint32(rapid.IntRange(0, 1).Draw(t, "xid")),
				body:    rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "body"),
			}
			_ = s.dispatch(m) // an error is fine
		}
	})
}

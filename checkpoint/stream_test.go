// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dialWorld opens a stream to w, and closes it with the test.
func dialWorld(t *testing.T, w *world, change func(*Options)) *Stream {
	t.Helper()
	opts := w.options()
	if change != nil {
		change(&opts)
	}
	s, err := Dial(context.Background(), "", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// newTestWorld is newWorld over TCP that stops with the test.
func newTestWorld(t *testing.T, app HandlerFunc, opts ServerOptions) *world {
	t.Helper()
	w := newWorld(t, app, opts)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.ln = ln
	t.Cleanup(func() {
		ln.Close()
		w.stop()
	})
	return w
}

// echoApp answers lines, and checkpoints after each: the state is how many.
func echoApp(_ context.Context, s *Session) error {
	n := 0
	if state, resumed := s.Restore(); resumed {
		fmt.Sscan(string(state), &n)
	}
	for {
		line, err := s.Input().ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n++
		fmt.Fprintf(s, "%d %s", n, line)
		if err := s.Checkpoint(fmt.Append(nil, n)); err != nil {
			return err
		}
	}
}

func expectLine(t *testing.T, s *Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// lose breaks the stream's present connection.
func lose(s *Stream) {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l != nil {
		l.conn.Close()
	}
}

func TestConversationOverManyServers(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	s := dialWorld(t, w, nil)
	for i := range 20 {
		if _, err := fmt.Fprintf(s, "hello %d\n", i); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			lose(s)
		}
		expectLine(t, s, fmt.Sprintf("%d hello %d\n", i+1, i))
		if i%3 == 1 {
			lose(s)
		}
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 9)); err != io.EOF {
		t.Errorf("read %d, %v at the end; want io.EOF", n, err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write after the end: %v, want %v", err, io.ErrClosedPipe)
	}
	if st := s.Stats(); st.Resumes < 10 || st.Covered != st.Position {
		t.Errorf("stats %+v: want 10 resumes or more, and everything covered", st)
	}
}

// TestEffectIDs are the same for a repeated step, and differ between steps.
func TestEffectIDs(t *testing.T) {
	var mu sync.Mutex
	effects := make(map[[32]byte]int)
	var crash atomic.Bool
	w := newTestWorld(t, func(_ context.Context, s *Session) error {
		for {
			line, err := s.Input().ReadString('\n')
			if err != nil {
				return err
			}
			mu.Lock()
			effects[s.EffectID()]++
			mu.Unlock()
			if crash.CompareAndSwap(true, false) {
				s.conn.Close() // after the effect, before anybody knows
			}
			fmt.Fprint(s, line)
			if err := s.Checkpoint([]byte("x")); err != nil {
				return err
			}
		}
	}, ServerOptions{})
	s := dialWorld(t, w, nil)
	for i := range 4 {
		crash.Store(i == 2)
		fmt.Fprintf(s, "order %d\n", i)
		expectLine(t, s, fmt.Sprintf("order %d\n", i))
	}
	mu.Lock()
	defer mu.Unlock()
	repeated := 0
	for _, n := range effects {
		repeated += n - 1
	}
	if len(effects) != 4 || repeated != 1 {
		t.Errorf("%d effects, %d of them done twice; want 4, and 1 under its old id", len(effects), repeated)
	}
}

func TestSkipWhatTheClientHas(t *testing.T) {
	const size = 100_000
	var repeatedWrites atomic.Int64
	w := newTestWorld(t, func(_ context.Context, s *Session) error {
		at := uint64(0)
		if n := s.Ahead(); n > 0 {
			if err := s.Skip(n + 1); err == nil {
				return errors.New("skipped more than the client has")
			}
			if err := s.Skip(n); err != nil {
				return err
			}
			at = n
			repeatedWrites.Add(1)
		}
		buf := make([]byte, size-at)
		(&pattern{seed: 3, at: at}).Read(buf)
		_, err := s.Write(buf)
		return err
	}, ServerOptions{})
	w.cuts, w.silent = []int64{30_000, 30_000}, []bool{false, false}
	s := dialWorld(t, w, nil)
	got, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, size)
	(&pattern{seed: 3}).Read(want)
	if !bytes.Equal(got, want) {
		t.Error("bytes differ")
	}
	if st := s.Stats(); st.Resumes != 2 || st.Repeated != 0 || repeatedWrites.Load() != 2 {
		t.Errorf("%d resumes, %d bytes repeated, %d skips; want 2, 0, 2", st.Resumes, st.Repeated, repeatedWrites.Load())
	}
}

func TestCommittedWritesAreBounded(t *testing.T) {
	result := make(chan error, 1)
	w := newTestWorld(t, func(_ context.Context, s *Session) error {
		_, err := s.Write(make([]byte, 5000))
		if err == nil {
			_, err = s.Write(make([]byte, 5000))
		}
		result <- err
		return nil
	}, ServerOptions{Delivery: Committed})
	s := dialWorld(t, w, func(o *Options) { o.HoldBuffer = 8000 })
	n, err := io.Copy(io.Discard, s)
	if err := <-result; !errors.Is(err, ErrUncovered) {
		t.Errorf("error %v, want %v", err, ErrUncovered)
	}
	if n != 5000 || err != nil {
		t.Errorf("%d bytes, %v; want the 5000 that were written, since the stream is complete", n, err)
	}
}

func TestBusyServersAreTriedAgain(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{MaxStreams: 1})
	w.servers = w.servers[:1]
	first := dialWorld(t, w, nil)
	var retries atomic.Int64
	opened := make(chan error, 1)
	go func() {
		opts := w.options()
		opts.OnEvent = func(e Event) {
			if e.Kind == EventRetry && errors.Is(e.Err, ErrBusy) && retries.Add(1) == 3 {
				go first.Close()
			}
		}
		s, err := Dial(context.Background(), "", opts)
		if err == nil {
			s.Close()
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		t.Errorf("after %d refusals: %v", retries.Load(), err)
	}
}

// TestServerStops: a server that is told to stop hands its streams over.
func TestServerStops(t *testing.T) {
	ring := NewKeyRing(GenerateKey())
	start := func() (string, context.CancelFunc, chan error) {
		srv, err := NewServer("test", ring, HandlerFunc(echoApp), ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, ln) }()
		t.Cleanup(cancel)
		return ln.Addr().String(), cancel, done
	}
	first, stopFirst, firstDone := start()
	second, stopSecond, secondDone := start()
	to := atomic.Pointer[string]{}
	to.Store(&first)
	opts := LAN()
	opts.Connect = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", *to.Load())
	}
	s, err := Dial(context.Background(), "", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fmt.Fprint(s, "a\n")
	expectLine(t, s, "1 a\n")
	to.Store(&second)
	stopFirst()
	if err := <-firstDone; err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(s, "b\n")
	expectLine(t, s, "2 b\n")
	if s.RemoteAddr().String() != second {
		t.Errorf("served by %s, want %s", s.RemoteAddr(), second)
	}
	s.Close()
	stopSecond()
	if err := <-secondDone; err != nil {
		t.Fatal(err)
	}
}

// TestSecondConnectWins: the first connect of an attempt hangs.
func TestSecondConnectWins(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	var calls atomic.Int64
	cancelled := make(chan struct{})
	start := time.Now()
	s := dialWorld(t, w, func(o *Options) {
		up := o.Connect
		o.RaceDelay = 20 * time.Millisecond
		o.Connect = func(ctx context.Context) (net.Conn, error) {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				close(cancelled)
				return nil, ctx.Err()
			}
			return up(ctx)
		}
	})
	if took := time.Since(start); took > time.Second {
		t.Errorf("connected after %s", took)
	}
	<-cancelled // the loser is ended
	fmt.Fprint(s, "x\n")
	expectLine(t, s, "1 x\n")
}

func TestOptionsAreChecked(t *testing.T) {
	bad := []Options{
		{Silence: -time.Second},
		{Silence: 2 * time.Hour},
		{ReplayBuffer: 1},
		{HoldBuffer: 2 << 30},
		{MaxCheckpoint: 10},
		{BackoffMin: time.Second, BackoffMax: time.Millisecond},
		{Service: strings.Repeat("x", 256)},
	}
	for _, o := range bad {
		if _, err := Dial(context.Background(), "127.0.0.1:1", o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, o := range []Options{Defaults(), LAN(), WAN()} {
		if err := o.withDefaults().validate(); err != nil {
			t.Errorf("preset: %v", err)
		}
	}
	for _, o := range []ServerOptions{{MaxState: -1}, {MaxState: 2 << 20}, {Lifetime: time.Millisecond}, {Heartbeat: time.Microsecond}, {Grace: -1}} {
		if _, err := NewServer("test", NewKeyRing(GenerateKey()), HandlerFunc(echoApp), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if _, err := NewServer("", NewKeyRing(GenerateKey()), HandlerFunc(echoApp), ServerOptions{}); err == nil {
		t.Error("a server without name is accepted")
	}
}

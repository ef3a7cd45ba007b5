// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// TestRefusalsReachTheClient has servers refuse for each reason that a client
// can meet, and the client's calls return it by name.
func TestRefusalsReachTheClient(t *testing.T) {
	ring := NewKeyRing(GenerateKey())
	expired := newSealer("test", ring, -time.Hour)
	foreign := newSealer("test", NewKeyRing(GenerateKey()), time.Hour)
	mine := newSealer("test", ring, time.Hour)
	forged := func(id StreamID) []byte {
		b := mine.seal(nil, id, 9, Position{}, []byte("1"), time.Now())
		b[len(b)-1] ^= 1
		return b
	}
	seal := func(s sealer, state string) func(StreamID) []byte {
		return func(id StreamID) []byte { return s.seal(nil, id, 9, Position{}, []byte(state), time.Now()) }
	}
	cases := []struct {
		name  string
		token func(StreamID) []byte
		want  error
	}{
		{"expired", seal(expired, "1"), ErrExpired},
		{"unknown key", seal(foreign, "1"), ErrUnknownKey},
		{"forged", forged, ErrForged},
		{"another service", seal(newSealer("other", ring, time.Hour), "1"), ErrForeignService},
		{"another stream", func(StreamID) []byte { return seal(mine, "1")(StreamID{7}) }, ErrForeignStream},
		{"truncated", func(id StreamID) []byte { return seal(mine, "1")(id)[:50] }, ErrTruncated},
		{"too large", seal(mine, strings.Repeat("x", 2000)), ErrTooLarge},
		{"the application can not", seal(mine, "unreadable"), ErrState},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newTestWorld(t, func(_ context.Context, s *Session) error {
				if state, resumed := s.Restore(); resumed && string(state) != "1" {
					return refuse(ReasonState, "not a number")
				}
				_, err := s.Write([]byte("x"))
				if err != nil {
					return err
				}
				_, err = s.Read(make([]byte, 1))
				return err
			}, ServerOptions{MaxState: 1000})
			for _, srv := range w.servers {
				srv.sealer.keys = ring
			}
			s := dialWorld(t, w, nil)
			expectLine(t, s, "x")
			s.mu.Lock()
			s.recv.token = c.token(s.recv.stream)
			s.mu.Unlock()
			lose(s)
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, c.want) {
				t.Errorf("read: %v, want %v", err, c.want)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, c.want) {
				t.Errorf("write: %v, want %v", err, c.want)
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	opts := w.options()
	opts.Service = "another"
	if _, err := Dial(context.Background(), "", opts); !errors.Is(err, ErrForeignService) {
		t.Errorf("error %v, want %v", err, ErrForeignService)
	}
}

func TestHandlerErrorsEndTheStream(t *testing.T) {
	cases := []struct {
		name string
		app  HandlerFunc
		want error
		text string
	}{
		{"error", func(context.Context, *Session) error { return errors.New("no such room\x1b[2J") }, ErrApplication, "no such room [2J"},
		{"refusal", func(context.Context, *Session) error { return refuse(ReasonState, "gone") }, ErrState, "gone"},
		{"panic", func(context.Context, *Session) error { panic("oops") }, ErrApplication, "panicked"},
		{"unexpected input frame", func(_ context.Context, s *Session) error {
			s.raw.Reset(bytes.NewReader([]byte{byte(frameHello), 0, 0, 0}))
			_, err := s.Read(make([]byte, 1))
			return err
		}, ErrProtocol, "kind 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := dialWorld(t, newTestWorld(t, c.app, ServerOptions{}), nil)
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
			if s.Stats().Resumes != 0 {
				t.Error("a stream that was ended by its server was resumed")
			}
		})
	}
}

// greetRaw says hello by hand and returns the checkpoint that follows accept,
// or the refusal.
func greetRaw(t *testing.T, w *world, token []byte) ([]byte, error) {
	t.Helper()
	conn, err := w.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := hello{stream: StreamID{5}, maxToken: 1 << 16, replay: 1 << 16, token: token}
	if _, err := conn.Write(frame(frameHello, h.encode())); err != nil {
		t.Fatal(err)
	}
	any := func(header) error { return nil }
	kind, payload, err := readFrame(conn, any)
	if err != nil {
		t.Fatal(err)
	}
	if kind == frameRefusal {
		r, err := parseRefusal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return nil, r
	}
	if _, payload, err = readFrame(conn, any); err != nil {
		t.Fatal(err)
	}
	return payload, nil
}

// TestOnceRefusesASecondResume presents checkpoints as a client that replays
// would.
func TestOnceRefusesASecondResume(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{Once: &MemoryOnce{}})
	first, err := greetRaw(t, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := greetRaw(t, w, first)
	if err != nil {
		t.Fatal(err)
	}
	third, err := greetRaw(t, w, second)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string][]byte{"none": nil, "first": first, "second": second} {
		if _, err := greetRaw(t, w, token); !errors.Is(err, ErrReplayed) {
			t.Errorf("%s checkpoint again: error %v, want %v", name, err, ErrReplayed)
		}
	}
	if _, err := greetRaw(t, w, third); err != nil {
		t.Errorf("the unused checkpoint: %v", err)
	}
}

// TestOnceStreamsResume is the ordinary life of such a service.
func TestOnceStreamsResume(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{Once: &MemoryOnce{}})
	s := dialWorld(t, w, nil)
	for i := range 8 {
		fmt.Fprint(s, "a\n")
		expectLine(t, s, fmt.Sprintf("%d a\n", i+1))
		lose(s)
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

func TestResumeTimeout(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	var down atomic.Bool
	s := dialWorld(t, w, func(o *Options) {
		o.ResumeTimeout = 100 * time.Millisecond
		up := o.Connect
		o.Connect = func(ctx context.Context) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("no route to host")
			}
			return up(ctx)
		}
	})
	down.Store(true)
	start := time.Now()
	lose(s)
	_, err := s.Read(make([]byte, 1))
	if !errors.Is(err, ErrResumeTimeout) || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("error %v, want %v with the cause", err, ErrResumeTimeout)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestContextEndsEverything(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	ctx, cancel := context.WithCancelCause(context.Background())
	s, err := Dial(ctx, "", w.options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cause := errors.New("user pressed stop")
	read := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); read <- err }()
	cancel(cause)
	if err := <-read; !errors.Is(err, cause) {
		t.Errorf("read: %v, want %v", err, cause)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, cause) {
		t.Errorf("write: %v, want %v", err, cause)
	}
}

func TestDeadlines(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	s := dialWorld(t, w, nil)
	s.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	var ne net.Error
	if _, err := s.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("read: %v, want a timeout", err)
	}
	s.SetDeadline(time.Time{})
	blocked := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); blocked <- err }()
	s.SetReadDeadline(time.Now().Add(-time.Second)) // also for a read in progress
	if err := <-blocked; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("blocked read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	s.SetDeadline(time.Time{})
	fmt.Fprint(s, "still there\n")
	expectLine(t, s, "1 still there\n")
	if s.Stats().Resumes != 0 {
		t.Error("a deadline cost a resume")
	}
}

// TestWriteWaitsForCheckpoints fills the replay buffer of a server that reads
// but takes no checkpoint.
func TestWriteWaitsForCheckpoints(t *testing.T) {
	covered := make(chan struct{})
	w := newTestWorld(t, func(ctx context.Context, s *Session) error {
		if _, err := io.ReadFull(s, make([]byte, 8<<10)); err != nil {
			return err
		}
		select {
		case <-covered:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.Checkpoint([]byte("x")); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, s)
		return err
	}, ServerOptions{Policy: Manual()})
	s := dialWorld(t, w, func(o *Options) { o.ReplayBuffer = 8 << 10 })
	if _, err := s.Write(make([]byte, 8<<10)); err != nil {
		t.Fatal(err)
	}
	s.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
	if n, err := s.Write([]byte("more")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write into a full buffer: %d, %v; want %v", n, err, os.ErrDeadlineExceeded)
	}
	s.SetWriteDeadline(time.Time{})
	close(covered)
	if n, err := s.Write([]byte("more")); n != 4 || err != nil {
		t.Errorf("write after the checkpoint: %d, %v", n, err)
	}
}

// TestSilenceIsNoticed connects to a server whose machine vanishes.
func TestSilenceIsNoticed(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	w.cuts, w.silent = []int64{220}, []bool{true} // after a few lines nothing passes
	var cause error
	s := dialWorld(t, w, func(o *Options) {
		o.OnEvent = func(e Event) {
			if e.Kind == EventLost {
				cause = e.Err
			}
		}
	})
	for i := range 40 {
		fmt.Fprintf(s, "line %d\n", i)
		expectLine(t, s, fmt.Sprintf("%d line %d\n", i+1, i))
	}
	if !errors.Is(cause, ErrSilent) {
		t.Errorf("lost because of %v, want %v", cause, ErrSilent)
	}
}

// TestHeartbeatsKeepAnIdleStream reads nothing for several times the silence.
func TestHeartbeatsKeepAnIdleStream(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	s := dialWorld(t, w, nil)
	s.SetReadDeadline(time.Now().Add(5 * s.opts.Silence))
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	s.SetReadDeadline(time.Time{})
	fmt.Fprint(s, "x\n")
	expectLine(t, s, "1 x\n")
	if n := s.Stats().Resumes; n != 0 {
		t.Errorf("%d resumes of a stream that was only idle", n)
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

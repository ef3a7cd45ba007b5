// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// cutConn is a connection that dies after so many bytes of either direction:
// with an error, or by going silent.
type cutConn struct {
	net.Conn
	budget *atomic.Int64
	silent bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if c.budget.Add(-int64(n)) > 0 {
			return n, err
		}
		if !c.silent {
			c.Conn.Close()
			return 0, errCut
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.budget.Add(-int64(len(p))) > 0 {
		return c.Conn.Write(p)
	}
	if !c.silent {
		// Part of it still goes out.
		n, _ := c.Conn.Write(p[:len(p)/2])
		c.Conn.Close()
		return n, errCut
	}
	return len(p), nil
}

// world is a set of servers, and connections to them that die.
type world struct {
	servers []*Server
	cuts    []int64 // budget of each connection in turn; after the last they live
	silent  []bool
	next    int
	ln      net.Listener // nil: pipes
	mu      sync.Mutex
	running sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
}

func newWorld(t failer, handler Handler, opts ServerOptions) *world {
	t.Helper()
	w := &world{}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	ring := NewKeyRing(GenerateKey())
	for range 3 {
		srv, err := NewServer("test", ring, handler, opts)
		if err != nil {
			t.Fatal(err)
		}
		w.servers = append(w.servers, srv)
	}
	return w
}

func (w *world) stop() {
	w.cancel()
	w.running.Wait()
}

// connect is an Options.Connect.
func (w *world) connect(context.Context) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	client, server, err := w.pair()
	if err != nil {
		return nil, err
	}
	srv := w.servers[w.next%len(w.servers)]
	w.running.Go(func() { srv.ServeConn(w.ctx, server) })
	budget := &atomic.Int64{}
	budget.Store(1 << 60)
	silent := false
	if w.next < len(w.cuts) {
		budget.Store(w.cuts[w.next])
		silent = w.silent[w.next]
	}
	w.next++
	return &cutConn{Conn: client, budget: budget, silent: silent}, nil
}

// pair returns both ends of a connection: of a pipe without any buffer, which
// stalls whoever is not read, or TCP.
func (w *world) pair() (client, server net.Conn, err error) {
	if w.ln == nil {
		client, server = net.Pipe()
		return client, server, nil
	}
	if client, err = net.Dial("tcp", w.ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	server, err = w.ln.Accept()
	return client, server, err
}

func (w *world) options() Options {
	return Options{
		Connect:       w.connect,
		Silence:       60 * time.Millisecond,
		AcceptTimeout: 80 * time.Millisecond,
		BackoffMin:    time.Millisecond,
		BackoffMax:    5 * time.Millisecond,
		ResumeTimeout: 10 * time.Second,
	}
}

// drawCuts makes up to n connections die, a few of them silently.
func (w *world) drawCuts(t *rapid.T, n int, most int64) {
	w.cuts = rapid.SliceOfN(rapid.Int64Range(1, most), 0, n).Draw(t, "cuts")
	for i := range w.cuts {
		w.silent = append(w.silent, rapid.IntRange(0, 9).Draw(t, fmt.Sprintf("silent%d", i)) == 0)
	}
}

func drawPolicy(t *rapid.T) Policy {
	return rapid.OneOf(
		rapid.Just(Adaptive()),
		rapid.Just(Every(time.Millisecond)),
		rapid.Map(rapid.Uint64Range(1, 20000), EveryBytes),
		rapid.Just(Manual()),
	).Draw(t, "policy")
}

// readChunks reads all of r in pieces of the size drawn.
func readChunks(r io.Reader, chunk int) ([]byte, error) {
	var all []byte
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func TestDownloadSurvivesAnyCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 200_000).Draw(t, "size")
		chunk := rapid.IntRange(1, 9000).Draw(t, "chunk")
		w := newWorld(t, HandlerFunc(downloadApp), ServerOptions{Policy: drawPolicy(t)})
		w.drawCuts(t, 8, int64(size)+400)
		defer w.stop()
		s, err := Dial(context.Background(), "", w.options())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fmt.Fprintf(s, "7 %d %d\n", size, chunk)
		got, err := readChunks(s, rapid.IntRange(1, 20000).Draw(t, "read"))
		if err != nil {
			t.Fatalf("after %d of %d bytes: %v", len(got), size, err)
		}
		want := make([]byte, size)
		(&pattern{seed: 7}).Read(want)
		if !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, want %d; or they differ", len(got), size)
		}
	})
}

func TestDuplexSurvivesAnyCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 100_000).Draw(t, "size")
		w := newWorld(t, HandlerFunc(mixApp), ServerOptions{Policy: drawPolicy(t)})
		w.drawCuts(t, 8, int64(size)+400)
		defer w.stop()
		opts := w.options()
		opts.ReplayBuffer = rapid.IntRange(minHold, 50_000).Draw(t, "replay")
		opts.HoldBuffer = rapid.IntRange(minHold, 50_000).Draw(t, "hold")
		s, err := Dial(context.Background(), "", opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sent := make([]byte, size)
		(&pattern{seed: 9}).Read(sent)
		chunk := rapid.IntRange(1, 9000).Draw(t, "write")
		wrote := make(chan error, 1)
		go func() { wrote <- writeChunks(s, sent, chunk) }()
		got, err := readChunks(s, rapid.IntRange(1, 20000).Draw(t, "read"))
		if err != nil {
			t.Fatalf("read after %d of %d bytes: %v", len(got), size, err)
		}
		if err := <-wrote; err != nil {
			t.Fatalf("write: %v", err)
		}
		want := bytes.Clone(sent)
		(&mixer{}).mix(want)
		if !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, want %d; or they differ", len(got), size)
		}
	})
}

func writeChunks(s *Stream, p []byte, chunk int) error {
	for len(p) > 0 {
		n, err := s.Write(p[:min(chunk, len(p))])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return s.CloseWrite()
}

func TestCommittedOutputIsOneHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(0, 2000).Draw(t, "lines")
		w := newWorld(t, diceApp(count), ServerOptions{Policy: drawPolicy(t), Delivery: Committed})
		w.drawCuts(t, 8, int64(count)*32+400)
		defer w.stop()
		opts := w.options()
		opts.HoldBuffer = rapid.IntRange(minHold, 50_000).Draw(t, "hold")
		s, err := Dial(context.Background(), "", opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := readChunks(s, rapid.IntRange(1, 20000).Draw(t, "read"))
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		if err := checkDice(string(got), count); err != nil {
			t.Fatal(err)
		}
	})
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

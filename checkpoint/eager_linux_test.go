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
	"runtime"
	"testing"
	"time"
)

// eagerLink is the client's end of a TCP connection on which enough came for
// eager reads, in the midst of a long frame, and the server's end.
func eagerLink(t *testing.T, silence time.Duration) (*link, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	l := newLink(client, silence)
	l.flowed(eagerFlow, 0)
	if !l.isEager {
		t.Fatal("not eager")
	}
	l.inFrame, l.long, l.left = true, true, 1<<30
	return l, server.(*net.TCPConn)
}

// TestEagerReadsTakeLittle sends less than the low water each time.
func TestEagerReadsTakeLittle(t *testing.T) {
	l, server := eagerLink(t, 5*time.Second)
	for i := range 20 {
		if i%5 == 4 {
			time.Sleep(2 * eagerWait) // the next read begins quietly
		}
		sent := fmt.Append(nil, "piece ", i)
		go func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			server.Write(sent)
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull((*linkReader)(l), got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("read %q, %v; want %q", got, err, sent)
		}
		if i%2 == 0 {
			l.flowed(eagerFlow, 0) // eager again
		}
	}
}

// TestEagerReadsEnd: by silence, by the application's deadline, by the peer, by
// a Close. The low water is high in all of them.
func TestEagerReadsEnd(t *testing.T) {
	cases := []struct {
		name string
		do   func(l *link, server *net.TCPConn)
		want error
	}{
		{"silence", func(*link, *net.TCPConn) {}, ErrSilent},
		{"deadline", func(l *link, _ *net.TCPConn) { l.setReadBy(time.Now()) }, os.ErrDeadlineExceeded},
		{"end", func(_ *link, server *net.TCPConn) { server.CloseWrite() }, io.EOF},
		{"close", func(l *link, _ *net.TCPConn) { l.conn.Close() }, net.ErrClosed},
	}
	for _, c := range cases {
		l, server := eagerLink(t, 50*time.Millisecond)
		server.Write([]byte("a"))
		if n, err := (*linkReader)(l).Read(make([]byte, 9)); n != 1 || err != nil {
			t.Fatalf("%s: read %d, %v; want 1", c.name, n, err)
		}
		raiseLow(t, l)
		time.AfterFunc(2*time.Millisecond, func() { c.do(l, server) })
		if _, err := (*linkReader)(l).Read(make([]byte, 9)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// raiseLow sets the low water of l as a wait does.
func raiseLow(t *testing.T, l *link) {
	t.Helper()
	err := l.eager.raw.Control(func(fd uintptr) { l.eager.setLow(int(fd), eagerLow) })
	if err != nil || l.eager.low != eagerLow {
		t.Fatalf("low water is %d, %v; want %d", l.eager.low, err, eagerLow)
	}
}

// TestEagerReadsAfterADeadline: an application's deadline leaves nothing behind.
func TestEagerReadsAfterADeadline(t *testing.T) {
	l, server := eagerLink(t, 5*time.Second)
	raiseLow(t, l)
	l.setReadBy(time.Now())
	if _, err := (*linkReader)(l).Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	l.setReadBy(time.Time{})
	l.flowed(eagerFlow, 0)
	server.Write([]byte("a"))
	if n, err := (*linkReader)(l).Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("read after the deadline: %d, %v", n, err)
	}
}

// TestEagerReadsKeepToTheFrame: neither more than a header, nor than its
// payload; where frames are short, as much as there is.
func TestEagerReadsKeepToTheFrame(t *testing.T) {
	l, server := eagerLink(t, 5*time.Second)
	server.Write(make([]byte, 100))
	for _, c := range []struct {
		long, inFrame bool
		left, want    int
	}{{true, false, 0, headerSize}, {true, true, 20, 20}, {false, true, 20, 50}, {false, false, 0, 25}} {
		l.long, l.inFrame, l.left = c.long, c.inFrame, c.left
		if n, err := (*linkReader)(l).Read(make([]byte, 50)); n != c.want || err != nil {
			t.Errorf("%+v: read %d, %v", c, n, err)
		}
	}
}

// TestEagerReadersAreFew: where too many wait, the next does not.
func TestEagerReadersAreFew(t *testing.T) {
	all := int32(runtime.NumCPU())
	eagerWaiters.Add(all)
	defer eagerWaiters.Add(-all)
	l, server := eagerLink(t, 5*time.Second)
	if _, err := l.eager.read(make([]byte, 1), 0); err != errQuiet {
		t.Errorf("read: %v, want %v", err, errQuiet)
	}
	time.AfterFunc(time.Millisecond, func() { server.Write([]byte("a")) })
	if n, err := (*linkReader)(l).Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("patient read: %d, %v", n, err)
	}
	if n := eagerWaiters.Load(); n != all {
		t.Errorf("%d waiters, want %d", n, all)
	}
}

// TestBulkOverLostConnections downloads more than eager reads need, on plain
// TCP, and loses the connection again and again.
func TestBulkOverLostConnections(t *testing.T) {
	const size = 12 << 20
	w := newTestWorld(t, downloadApp, ServerOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- w.servers[0].Serve(ctx, w.ln) }()
	s := dialWorld(t, w, func(o *Options) { o.Connect = tcpConnector(w.ln.Addr().String()) })
	fmt.Fprintf(s, "7 %d %d\n", size, 300_000)
	want, got, next := &pattern{seed: 7}, make([]byte, 64<<10), 1<<20
	expected := make([]byte, len(got))
	for total := 0; ; {
		n, err := s.Read(got)
		want.Read(expected[:n])
		if total += n; err == io.EOF && total == size {
			break
		}
		if err != nil || !bytes.Equal(got[:n], expected[:n]) {
			t.Fatalf("after %d bytes: %v, or they differ", total, err)
		}
		s.mu.Lock()
		if s.link != nil {
			s.link.flowed(eagerFlow, 0) // nobody else reads
		}
		s.mu.Unlock()
		if total >= next {
			lose(s)
			next += 3 << 19
		}
	}
	if st := s.Stats(); st.Resumes < 5 {
		t.Errorf("%d resumes, want 5 or more", st.Resumes)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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

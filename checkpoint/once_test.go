// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOnceClaims(t *testing.T) {
	dir, err := OpenDirOnce(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other := *dir // another server with the same directory
	cases := []struct {
		name string
		a, b Once
	}{
		{"memory", nil, nil},
		{"directory", dir, &other},
	}
	memory := &MemoryOnce{}
	cases[0].a, cases[0].b = memory, memory
	until := time.Now().Add(time.Hour)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			steps := []struct {
				once   Once
				stream StreamID
				seq    uint64
				want   error
			}{
				{c.a, StreamID{1}, 0, nil},
				{c.b, StreamID{1}, 0, ErrReplayed},
				{c.b, StreamID{1}, 4, nil},
				{c.a, StreamID{1}, 4, ErrReplayed},
				{c.a, StreamID{1}, 3, ErrReplayed}, // an older one, never used
				{c.a, StreamID{2}, 3, nil},
				{c.a, StreamID{1}, 5, nil},
			}
			for i, s := range steps {
				if err := s.once.Claim(context.Background(), s.stream, s.seq, until); !errors.Is(err, s.want) {
					t.Errorf("step %d: error %v, want %v", i, err, s.want)
				}
			}
		})
	}
}

func TestDirOnceIsClaimedByOne(t *testing.T) {
	path := t.TempDir()
	var won atomic.Int64
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			dir, err := OpenDirOnce(path)
			if err != nil {
				t.Error(err)
				return
			}
			if dir.Claim(context.Background(), StreamID{9}, 7, time.Now().Add(time.Hour)) == nil {
				won.Add(1)
			}
		})
	}
	running.Wait()
	if won.Load() != 1 {
		t.Errorf("%d servers claimed one checkpoint", won.Load())
	}
}

func TestOnceForgets(t *testing.T) {
	path := t.TempDir()
	dir, err := OpenDirOnce(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ctx := context.Background()
	if err := errors.Join(dir.Claim(ctx, StreamID{1}, 2, now.Add(time.Minute)), dir.Claim(ctx, StreamID{2}, 2, now.Add(time.Hour)), dir.Prune(now.Add(30*time.Minute))); err != nil {
		t.Fatal(err)
	}
	if err := dir.Claim(ctx, StreamID{1}, 1, now.Add(time.Hour)); err != nil {
		t.Errorf("a mark that is over still counts: %v", err)
	}
	if err := dir.Claim(ctx, StreamID{2}, 1, now.Add(time.Hour)); !errors.Is(err, ErrReplayed) {
		t.Errorf("a mark that is not over does not count: %v", err)
	}
	m := &MemoryOnce{}
	if err := m.Claim(ctx, StreamID{1}, 2, now.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	m.sweep = time.Time{}
	m.expire(now)
	if len(m.claims) != 0 {
		t.Error("memory keeps what is over")
	}
}

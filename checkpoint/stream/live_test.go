// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// TestLiveAgainstSlice compares the ring with a slice of all that was appended.
func TestLiveAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLive(0) // the least: liveChunk
		l.restart("e", 0)
		var all []byte
		piece := make([]byte, 2*liveChunk)
		for i := range piece {
			piece[i] = byte(i * 7 / 3)
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n := rapid.IntRange(0, len(piece)).Draw(t, "n")
				l.append(piece[:n])
				all = append(all, piece[:n]...)
			},
			"read": func(t *rapid.T) {
				at := rapid.Uint64Range(0, uint64(len(all))).Draw(t, "at")
				p := make([]byte, rapid.IntRange(1, liveChunk).Draw(t, "p"))
				n, _, err := l.tryRead(p, "e", at)
				if oldest := max(0, len(all)-liveChunk); int(at) < oldest {
					if !errors.Is(err, errLiveGone) {
						t.Fatalf("read at %d, oldest %d: error %v", at, oldest, err)
					}
					return
				}
				if err != nil || !bytes.Equal(p[:n], all[at:int(at)+n]) || n != min(len(p), len(all)-int(at)) {
					t.Fatalf("read %d at %d of %d: %v, or other bytes", n, at, len(all), err)
				}
			},
		})
	})
}

func TestLiveStates(t *testing.T) {
	l := NewLive(1 << 20)
	p := make([]byte, 10)
	if n, changed, err := l.tryRead(p, "x", 0); n != 0 || changed == nil || err != nil {
		t.Errorf("before anything is known: %d, %v; want to wait", n, err)
	}
	l.restart("first", 1000)
	l.append(make([]byte, 5*tsPacket))
	epoch, at, err := l.begin(context.Background(), 2*tsPacket)
	if epoch != "first" || err != nil || at%tsPacket != 0 || at < 1000+3*tsPacket {
		t.Errorf("a new client begins at %d of %q, %v", at, epoch, err)
	}
	if _, _, err := l.tryRead(p, "other", 1000); !errors.Is(err, errLiveEpoch) {
		t.Errorf("another epoch: %v, want %v", err, errLiveEpoch)
	}
	if _, _, err := l.tryRead(p, "first", 999); !errors.Is(err, errLiveGone) {
		t.Errorf("before the oldest: %v, want %v", err, errLiveGone)
	}
	l.finish()
	if _, _, err := l.tryRead(p, "first", 1000+5*tsPacket); err != io.EOF {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := NewLive(0).begin(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("begin without a source: %v, want %v", err, context.Canceled)
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os/exec"
	"time"
)

// played is what a player saw of a film.
type played struct {
	Bytes       int64
	SHA256      string
	LongestWait time.Duration // between two reads
	Decoder     string        // what ffmpeg, which decoded it meanwhile, complained of
}

// helpPlay plays a film as it comes, like a player that knows nothing of
// checkpoints. It says "open" when the film has begun.
func helpPlay(ctx context.Context, a helperArgs) (any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.vip+a.path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	fmt.Println("open")
	return play(ctx, response.Body)
}

// play reads a film to its end, and lets ffmpeg decode what it reads.
func play(ctx context.Context, film io.Reader) (played, error) {
	decoder := exec.CommandContext(ctx, "ffmpeg", "-v", "warning", "-i", "-", "-f", "null", "-")
	var complaints bytes.Buffer
	decoder.Stderr = &complaints
	feed, err := decoder.StdinPipe()
	if err != nil {
		return played{}, err
	}
	if err := decoder.Start(); err != nil {
		return played{}, err
	}
	watch := &stopwatch{hash: sha256.New()}
	n, err := io.Copy(io.MultiWriter(watch, feed), film)
	if err = errors.Join(err, feed.Close(), decoder.Wait()); err != nil {
		return played{}, fmt.Errorf("after %d bytes: %w; ffmpeg says %q", n, err, complaints.String())
	}
	return played{n, hex.EncodeToString(watch.hash.Sum(nil)), watch.longest, complaints.String()}, nil
}

// stopwatch looks at what is written to it, and when.
type stopwatch struct {
	hash    hash.Hash
	last    time.Time
	longest time.Duration
}

func (s *stopwatch) Write(p []byte) (int, error) {
	now := time.Now()
	if !s.last.IsZero() {
		s.longest = max(s.longest, now.Sub(s.last))
	}
	s.last = now
	return s.hash.Write(p)
}

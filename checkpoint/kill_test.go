// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onevip/onevip/checkpoint/internal/killable"
)

// chunkTick is the time between two chunks of a stream: many streams are slower
// ones, since they are to meet crashes, not to keep two CPUs busy.
func chunkTick() time.Duration {
	if soaking() {
		return 50 * time.Millisecond
	}
	return 5 * time.Millisecond
}

func soaking() bool { return os.Getenv("ONEVIP_SOAK") == "1" }

// pacedDownloadApp is downloadApp that sends a chunk each few milliseconds, so
// that a stream lives through several servers.
func pacedDownloadApp(ctx context.Context, s *Session) error {
	tick := time.NewTicker(chunkTick())
	defer tick.Stop()
	var seed, size, at uint64
	if state, resumed := s.Restore(); resumed {
		if _, err := fmt.Sscan(string(state), &seed, &size, &at); err != nil {
			return refuse(ReasonState, "%v", err)
		}
	} else if _, err := fmt.Fscanln(s.Input(), &seed, &size); err != nil {
		return err
	}
	buf := make([]byte, 8<<10)
	for at < size {
		p := pattern{seed, at}
		n, _ := p.Read(buf[:min(uint64(len(buf)), size-at)])
		if _, err := s.Write(buf[:n]); err != nil {
			return err
		}
		at += uint64(n)
		if err := s.Offer(func() []byte { return fmt.Appendf(nil, "%d %d %d", seed, size, at) }); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// cluster is three server processes behind one address per application.
type cluster struct {
	*killable.Servers
	download, mix string
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	keys, download, mix := filepath.Join(t.TempDir(), "keys.json"), killable.Address(t), killable.Address(t)
	if _, err := RotateKeyFile(keys, 2); err != nil {
		t.Fatal(err)
	}
	servers := killable.Start(t, 3, keysEnv+"="+keys, downloadEnv+"="+download, mixEnv+"="+mix)
	return cluster{servers, download, mix}
}

// soak is what the kill test adds up.
type soak struct {
	streams, resumes, bytes atomic.Int64
	mu                      sync.Mutex
	outage                  time.Duration // longest
}

func (k *soak) add(s *Stream, n int64) {
	st := s.Stats()
	k.streams.Add(1)
	k.resumes.Add(int64(st.Resumes))
	k.bytes.Add(n)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outage = max(k.outage, st.LongestOutage)
}

// TestKillServers kills servers at random while streams run, and compares each
// stream with its source: 30 kills and 20 streams; with ONEVIP_SOAK=1, 1 000
// and 200.
func TestKillServers(t *testing.T) {
	kills, clients := 30, 20
	switch {
	case soaking():
		kills, clients = 1000, 200
	case testing.Short():
		t.Skip("starts and kills processes: not in short mode")
	}
	c := startCluster(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var total soak
	failed := make(chan error, clients)
	var running sync.WaitGroup
	for i := range clients {
		run := total.downloads
		addr := c.download
		if i%2 == 1 {
			run, addr = total.duplexes, c.mix
		}
		running.Go(func() {
			if err := run(ctx, addr, uint64(i)); err != nil {
				failed <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	for i := range kills {
		c.Restart(t, rand.IntN(c.Count()))
		select {
		case err := <-failed:
			t.Fatalf("after %d kills: %v", i+1, err)
		case <-time.After(time.Duration(rand.IntN(200)) * time.Millisecond): // the load, not a wait
		}
	}
	stop()
	running.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	t.Logf("%d kills, %d streams complete, %d resumes, %d MB compared, longest outage %s",
		kills, total.streams.Load(), total.resumes.Load(), total.bytes.Load()>>20, total.outage)
	if total.resumes.Load() < int64(kills) {
		t.Errorf("%d resumes for %d kills: the kills hit nothing", total.resumes.Load(), kills)
	}
}

// downloads runs one download after the other until ctx is done; the last one
// is finished.
func (k *soak) downloads(ctx context.Context, addr string, seed uint64) error {
	for ; ctx.Err() == nil; seed += 1000 {
		if err := k.download(addr, seed, 1<<20+seed%4096); err != nil {
			return err
		}
	}
	return nil
}

func (k *soak) download(addr string, seed, size uint64) error {
	s, err := Dial(context.Background(), addr, Defaults())
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintf(s, "%d %d\n", seed, size)
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, s)
	if err != nil {
		return fmt.Errorf("download, after %d bytes: %w", n, err)
	}
	io.CopyN(want, &pattern{seed: seed}, int64(size))
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("download of %d bytes gave %d, with another hash", size, n)
	}
	k.add(s, n)
	return nil
}

func (k *soak) duplexes(ctx context.Context, addr string, seed uint64) error {
	for ; ctx.Err() == nil; seed += 1000 {
		if err := k.duplex(addr, seed, 1<<19+int(seed%4096)); err != nil {
			return err
		}
	}
	return nil
}

func (k *soak) duplex(addr string, seed uint64, size int) error {
	s, err := Dial(context.Background(), addr, Defaults())
	if err != nil {
		return err
	}
	defer s.Close()
	sent := make([]byte, size)
	(&pattern{seed: seed}).Read(sent)
	wrote := make(chan error, 1)
	go func() { wrote <- writePaced(s, sent) }()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-wrote); err != nil {
		return fmt.Errorf("duplex, after %d bytes: %w", len(got), err)
	}
	(&mixer{}).mix(sent)
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("duplex of %d bytes gave %d, or others", size, len(got))
	}
	k.add(s, int64(len(got)))
	return nil
}

func writePaced(s *Stream, p []byte) error {
	tick := time.NewTicker(chunkTick())
	defer tick.Stop()
	for len(p) > 0 {
		n, err := s.Write(p[:min(len(p), 5000)])
		if err != nil {
			return err
		}
		p = p[n:]
		<-tick.C
	}
	return s.CloseWrite()
}

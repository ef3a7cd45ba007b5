// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// testBurst is short: a stream is to last through crashes.
const testBurst = 200 * time.Millisecond

// randomFile makes a file of random bytes and returns its hash.
func randomFile(t *testing.T, path string, size int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	source := rand.NewChaCha8([32]byte{byte(size)})
	if _, err := io.CopyN(io.MultiWriter(f, sum), source, size); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// outages collects a stream's events.
type outages struct {
	resumed atomic.Int64
	longest atomic.Int64
}

func (o *outages) options() checkpoint.Options {
	opts := checkpoint.LAN()
	opts.OnEvent = func(e checkpoint.Event) {
		if e.Kind == checkpoint.EventResumed {
			o.resumed.Add(1)
			o.longest.Store(max(o.longest.Load(), int64(e.Outage)))
		}
	}
	return opts
}

func at(u *url.URL, path string) *url.URL { return u.JoinPath(path) }

// TestDownloadAcrossCrashes kills all servers in turn under downloads.
func TestDownloadAcrossCrashes(t *testing.T) {
	dir := t.TempDir()
	want := randomFile(t, filepath.Join(dir, "film.bin"), 8<<20)
	c := startCluster(t, 3, dir, rateEnv+"=16M")
	var o outages
	var running sync.WaitGroup
	failed := make(chan error, 8)
	done := make(chan struct{})
	for range cap(failed) {
		running.Go(func() {
			u := at(c.url, "film.bin")
			rt := NewTransport(u, TransportOptions{Checkpoint: o.options()})
			defer rt.CloseIdleConnections()
			sum := sha256.New()
			if _, err := Fetch(context.Background(), rt, u, "", sum, nil); err != nil {
				failed <- err
			} else if got := hex.EncodeToString(sum.Sum(nil)); got != want {
				failed <- fmt.Errorf("hash %s, want %s", got, want)
			}
		})
	}
	go func() { running.Wait(); close(done) }()
	kills := 0
	for alive := true; alive; kills++ {
		c.Restart(t, kills%3)
		select {
		case <-done:
			alive = false
		case <-time.After(100 * time.Millisecond): // the load, not a wait
		}
	}
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	t.Logf("%d kills, %d resumes, longest outage %s", kills, o.resumed.Load(), time.Duration(o.longest.Load()))
	if o.resumed.Load() < 8 {
		t.Errorf("%d resumes: the kills hit nothing", o.resumed.Load())
	}
}

// TestPlayerThroughRelayAcrossCrashes has ffprobe, an unmodified player, decode
// a stream through the relay while its server dies twice.
func TestPlayerThroughRelayAcrossCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes: not in short mode")
	}
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: apt-get install ffmpeg", tool)
		}
	}
	dir := t.TempDir()
	film := filepath.Join(dir, "film.ts")
	makeFilm(t, film)
	c := startCluster(t, 3, dir, rateEnv+"=8M")
	var o outages
	relay := NewRelay(at(c.url, "film.ts"), RelayOptions{Transport: TransportOptions{Checkpoint: o.options()}})
	defer relay.Close()
	front := httptest.NewServer(relay)
	defer front.Close()

	copied := filepath.Join(dir, "copy.ts")
	player := exec.Command("ffprobe", "-v", "warning", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets",
		"-of", "csv=p=0", "-i", front.URL+"/film.ts")
	var packets, complaints, more bytes.Buffer
	player.Stdout, player.Stderr = &packets, &complaints
	fetcher := exec.Command("ffmpeg", "-v", "warning", "-y", "-i", front.URL+"/", "-c", "copy", "-f", "mpegts", copied)
	fetcher.Stderr = &more
	for _, cmd := range []*exec.Cmd{player, fetcher} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	raw := make(chan string, 1)
	go func() { raw <- hashOf(front.URL + "/film.ts") }()
	for i := range 2 {
		crashAll(t, c, &o, int64(3*(i+1)))
	}
	for _, cmd := range []*exec.Cmd{player, fetcher} {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
	}
	if said := complaints.String() + more.String(); said != "" {
		t.Errorf("the players complain:\n%s", said)
	}
	if got, want := <-raw, hashFile(t, film); got != want {
		t.Errorf("bytes through the relay have hash %s, the file %s", got, want)
	}
	if got, want := packets.String(), probe(t, film); got != want {
		t.Errorf("ffprobe counts %q through the relay, %q in the file", got, want)
	}
	t.Logf("%d resumes, longest outage %s; packets %s", o.resumed.Load(), time.Duration(o.longest.Load()),
		strings.Join(strings.Fields(packets.String()), " "))
}

// crashAll kills servers until each of three streams resumed, want times in all.
func crashAll(t *testing.T, c cluster, o *outages, want int64) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; o.resumed.Load() < want; i++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d resumes, want %d", o.resumed.Load(), want)
		}
		c.Restart(t, i%3)
		<-time.After(150 * time.Millisecond) // the load, not a wait
	}
}

func makeFilm(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25",
		"-f", "lavfi", "-i", "sine=440", "-t", "30", "-c:v", "mpeg2video", "-b:v", "2M", "-minrate", "2M", "-maxrate", "2M", "-bufsize", "1M",
		"-c:a", "mp2", "-f", "mpegts", "-muxrate", "2500k", path).CombinedOutput()
	if err != nil {
		t.Fatalf("make film: %v\n%s", err, out)
	}
}

func probe(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets",
		"-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func hashOf(address string) string {
	resp, err := http.Get(address)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, resp.Body); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestLiveAcrossCrashes has three servers follow one live source, and kills
// them under a stream: what arrives is the source, from somewhere on.
func TestLiveAcrossCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes: not in short mode")
	}
	source := &liveSource{}
	live := NewLive(8 << 20)
	origin, err := NewServer(t.TempDir(), ServerOptions{
		Keys: checkpoint.NewKeyRing(checkpoint.GenerateKey()),
		Live: map[string]*Live{"cam": live},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	feed, encoder := io.Pipe()
	fed := make(chan error, 1)
	go func() { fed <- live.Feed(feed) }()
	stop := make(chan struct{})
	go source.run(encoder, stop)
	front := httptest.NewServer(origin)
	defer front.Close()
	c := startCluster(t, 3, t.TempDir(), liveEnv+"="+front.URL+"/cam")

	var o outages
	u := at(c.url, "live")
	rt := NewTransport(u, TransportOptions{Checkpoint: o.options()})
	var got bytes.Buffer
	fetched := make(chan error, 1)
	go func() {
		_, err := Fetch(context.Background(), rt, u, "", &got, nil)
		fetched <- err
	}()
	crashAll(t, c, &o, 3)
	close(stop) // the encoder ends: so do source, servers' copies and stream
	select {
	case err := <-fetched:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the stream does not end with its source")
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	all := source.all.Bytes()
	if !bytes.HasSuffix(all, got.Bytes()) || got.Len() == 0 {
		t.Fatalf("%d bytes of the stream are not the end of the source's %d", got.Len(), len(all))
	}
	t.Logf("%d bytes, %d resumes, longest outage %s", got.Len(), o.resumed.Load(), time.Duration(o.longest.Load()))
}

// liveSource is an encoder: random bytes at a steady rate, remembered.
type liveSource struct{ all bytes.Buffer }

func (l *liveSource) run(w io.WriteCloser, stop <-chan struct{}) {
	defer w.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	random := rand.NewChaCha8([32]byte{1})
	for {
		piece := make([]byte, 10*tsPacket)
		random.Read(piece)
		l.all.Write(piece)
		if _, err := w.Write(piece); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// TestRelayAtFullSpeedAcrossCrashes: servers without a pace, an ordinary HTTP
// client at the relay, all servers killed each time that it has read a part.
func TestRelayAtFullSpeedAcrossCrashes(t *testing.T) {
	const size, part = 96 << 20, 24 << 20 // a part is more than sockets hold
	dir := t.TempDir()
	want := randomFile(t, filepath.Join(dir, "film.bin"), size)
	c := startCluster(t, 2, dir)
	var o outages
	relay := NewRelay(at(c.url, "film.bin"), RelayOptions{Transport: TransportOptions{Checkpoint: o.options()}})
	defer relay.Close()
	front := httptest.NewServer(relay)
	defer front.Close()

	resp, err := http.Get(front.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		t.Fatalf("%s, %d bytes; want 200, %d", resp.Status, resp.ContentLength, size)
	}
	sum, total := sha256.New(), int64(0)
	for {
		n, err := io.CopyN(sum, resp.Body, part)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
		for i := range c.Count() {
			c.Restart(t, i)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); total != size || got != want {
		t.Errorf("%d bytes with hash %s through the relay, the file has %d with %s", total, got, size, want)
	}
	if n := o.resumed.Load(); n < size/part-1 {
		t.Errorf("%d resumes, want one after each of the parts but the last", n)
	}
	seek(t, front.URL+"/film.bin", size)
}

// seek is what a player does when its user moves the slider.
func seek(t *testing.T, url string, size int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", size-1000))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusPartialContent || len(rest) != 1000 {
		t.Errorf("range: %s, %d bytes, %v; want 206, 1000", resp.Status, len(rest), err)
	}
}

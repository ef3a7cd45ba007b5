// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The benchmark of locality, as short as it can be: all its parts run, nothing
// fails, and more is found in memory than where requests go anywhere.
func TestBenchLocality(t *testing.T) {
	library.use(t) // or skip
	dir := t.TempDir()
	figures, picture := filepath.Join(dir, "out.json"), filepath.Join(dir, "out.png")
	_, _, err := onevipCommand("bench", "locality", "--quick", "--warm", "1s", "--for", "3s", "--pairs", "20",
		"--files", "directories=8", "--cache", "4.5MiB", "--line", "1e6", "--json", figures, "--png", picture)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Schema  string
		Summary map[string]struct {
			Downloads int
			Failed    int
			HitRatio  float64 `json:"hit_ratio"`
			StorageMB float64 `json:"storage_mb"`
		}
		FirstByte struct{ Ratio float64 } `json:"first_byte"`
	}
	text, err := os.ReadFile(figures)
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		t.Fatal(err)
	}
	by, without := report.Summary["locality"], report.Summary["least-connection"]
	if report.Schema != "onevip.bench.locality/1" || by.Downloads == 0 || by.Downloads != without.Downloads || by.Failed+without.Failed > 0 {
		t.Errorf("%+v", report)
	}
	if by.HitRatio <= without.HitRatio || by.StorageMB >= without.StorageMB || report.FirstByte.Ratio <= 0 {
		t.Errorf("locality gains nothing: %+v", report)
	}
	if info, err := os.Stat(picture); err != nil || info.Size() < 1000 {
		t.Errorf("the plot: %v", err)
	}
}

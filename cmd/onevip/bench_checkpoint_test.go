// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestStampsShowWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stamped")
	if err := writeStamped(path, 1000); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) != 1000 {
		t.Fatalf("%d bytes, %v; want 1000", len(whole), err)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	cases := []struct {
		name           string
		got            []byte
		lost, repeated int64
	}{
		{"as sent", whole, 0, 0},
		{"a piece is missing", join(whole[:400], whole[480:]), 80, 0},
		{"a piece came twice", join(whole[:400], whole[320:]), 0, 80},
		{"one missing, one twice", join(whole[:80], whole[160:400], whole[320:]), 80, 80},
	}
	for _, c := range cases {
		for _, chunk := range []int{1, 7, 8, 500} {
			check := &stampChecker{}
			for rest := c.got; len(rest) > 0; {
				n, _ := check.Write(rest[:min(chunk, len(rest))])
				rest = rest[n:]
			}
			if check.lost != c.lost || check.repeated != c.repeated || check.total != int64(len(c.got)) {
				t.Errorf("%s, in pieces of %d: lost %d, repeated %d; want %d, %d", c.name, chunk, check.lost, check.repeated, c.lost, c.repeated)
			}
		}
	}
}

func TestRatioOf(t *testing.T) {
	equal := ratioOf([]float64{2, 2, 2})
	if math.Abs(equal.Mean-2) > 1e-9 || math.Abs(equal.Low-2) > 1e-9 || math.Abs(equal.High-2) > 1e-9 {
		t.Errorf("equal pairs give %+v", equal)
	}
	spread := ratioOf([]float64{0.5, 2, 0.5, 2, 0.5, 2})
	if math.Abs(spread.Mean-1) > 1e-9 || spread.Low >= 0.9 || spread.High <= 1.1 {
		t.Errorf("ratios that cancel out give %+v", spread)
	}
	if none := ratioOf(nil); none != (ratio{}) {
		t.Errorf("no pairs give %+v", none)
	}
}

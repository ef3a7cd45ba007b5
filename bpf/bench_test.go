// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

// A reading is of the frame with its number modulo framesPerCase: the least of
// each frame counts, and frames count alike.
func TestSummarizeRuns(t *testing.T) {
	var readings []reading
	for round := range 3 {
		for frame := range framesPerCase {
			noise := float64((round + frame) % 3 * 100)
			readings = append(readings, reading{program: 40 + float64(frame) + noise, baseline: 20 + noise})
		}
	}
	got := summarizeRuns(BenchCase{}, readings)
	if got.NS != 43.5 || got.Baseline != 20 || got.Ratio != 2.175 {
		t.Errorf("got %+v, want 43.5 ns to 20", got)
	}
	if got.Least != 40 || got.Most != 247 || got.Rounds != 24 {
		t.Errorf("spread %v..%v of %d rounds, want 40..247 of 24", got.Least, got.Most, got.Rounds)
	}
}

// Putting the packet back is not the program's time.
func TestReadingOfRewritingProgram(t *testing.T) {
	r := reading{program: 180, baseline: 20, again: 50}
	if r.ns() != 150 {
		t.Errorf("%+v is %v ns, want 150", r, r.ns())
	}
}

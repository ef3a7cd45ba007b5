// SPDX-License-Identifier: Apache-2.0

package labload

import "testing"

func TestQuantile(t *testing.T) {
	values := []float64{1, 2, 3, 4}
	for q, want := range map[float64]float64{0: 1, 0.5: 2, 0.99: 4, 1: 4} {
		if got := Quantile(values, q); got != want {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if got := Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %g", got)
	}
}

func TestSaid(t *testing.T) {
	s := NewSaid("ready")
	for _, piece := range []string{"warning: not ready\nre", "ady"} {
		if _, err := s.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.Seen:
			t.Fatalf("ready after %q", s.Text())
		default:
		}
	}
	if _, err := s.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	<-s.Seen
}

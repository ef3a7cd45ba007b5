// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"os"
	"testing"
)

// No file makes Parse panic; what it refuses has a place and a reason.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(minimal))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("cluster: &a\nnodes: *a\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, Override{"heartbeat.misses", "2", "flag"})
		if err == nil {
			if _, err := Marshal(c); err != nil {
				t.Errorf("accepted, but not written: %v", err)
			}
			return
		}
		checkProblems(t, err)
	})
}

// No file makes ParseLab panic.
func FuzzParseLab(f *testing.F) {
	f.Add([]byte(levelsLab))
	f.Add([]byte("topology: {nodes: &n {a: *n}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ParseLab("f", data); err != nil {
			checkProblems(t, err)
		}
	})
}

func checkProblems(t *testing.T, err error) {
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error %v, want Problems", err)
	}
	for _, p := range problems {
		if p.Where == "" || p.What == "" || p.Fix == "" {
			t.Errorf("incomplete problem %+v", p)
		}
	}
}

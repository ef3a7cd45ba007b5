// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

func mustNew(t *testing.T, spec Spec) *Set {
	t.Helper()
	s, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The sizes are those of the workload that the set is like.
func TestUnscaled(t *testing.T) {
	s := mustNew(t, Spec{Directories: 3, Scale: 1})
	files := s.Files()
	if len(files) != 3*16 || s.Bytes() != 3*68_472_021 {
		t.Errorf("%d files, %d bytes", len(files), s.Bytes())
	}
	mean, sum := 0.0, 0.0
	for _, f := range files {
		mean += f.Share * float64(f.Bytes)
		sum += f.Share
	}
	if math.Abs(mean-6.92e6) > 0.01e6 || math.Abs(sum-1) > 1e-9 {
		t.Errorf("a pick has %.0f bytes on average, shares sum to %g", mean, sum)
	}
}

func TestDefaultFitsTheLab(t *testing.T) {
	s := mustNew(t, Default)
	if s.Bytes() < 130e6 || s.Bytes() > 145e6 || len(s.Files()) != 1024 || s.Spec() != Default {
		t.Errorf("%d files, %d bytes, %v", len(s.Files()), s.Bytes(), s.Spec())
	}
}

func TestPopularity(t *testing.T) {
	all := popularities(250)
	if ratio := all[0] / all[1]; math.Abs(ratio-math.Pow(2, 1.2)) > 1e-9 {
		t.Errorf("first to second: %g", ratio)
	}
	if all[0] < .23 || all[0] > .26 {
		t.Errorf("the most popular of 250 directories takes %g", all[0])
	}
}

// Picks fall as the shares say.
func TestPick(t *testing.T) {
	s := mustNew(t, Spec{Directories: 4, Scale: .001, Seed: 7})
	const picks = 200_000
	counts := map[string]int{}
	random := rand.New(rand.NewPCG(1, 2))
	for range picks {
		counts[s.Pick(random).Name]++
	}
	for _, f := range s.Files() {
		want := f.Share * picks
		if got := float64(counts[f.Name]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: picked %g times, want about %.0f", f.Name, got, want)
		}
	}
}

// Whoever has the Spec has the same set, and the seed only moves popularity.
func TestSpecDecides(t *testing.T) {
	spec := Spec{Directories: 20, Scale: .01, Seed: 3}
	one, two := mustNew(t, spec), mustNew(t, spec)
	if !slices.Equal(one.Files(), two.Files()) {
		t.Error("two sets of one spec differ")
	}
	spec.Seed = 4
	other := mustNew(t, spec)
	if other.Files()[0].Name == one.Files()[0].Name || other.Bytes() != one.Bytes() {
		t.Errorf("another seed: %s is popular, %d bytes", other.Files()[0].Name, other.Bytes())
	}
	for _, f := range one.Files() {
		if found, ok := other.Lookup(f.Name); !ok || found.Bytes != f.Bytes {
			t.Errorf("%s is %+v, %t", f.Name, found, ok)
		}
	}
	if _, ok := one.Lookup("/download/dir00020/0-0"); ok {
		t.Error("a file beyond the set is found")
	}
}

func TestSpecText(t *testing.T) {
	tests := []struct {
		text, want string // want: what it is written as, or the error
		fails      bool
	}{
		{text: "directories=9,scale=1/64,seed=5", want: "directories=9,scale=1/64,seed=5"},
		{text: "scale=0.3", want: "directories=64,scale=0.3,seed=1"},
		{text: "seed=0,directories=1", want: "directories=1,scale=1/32,seed=0"},
		{text: "scale=1", want: "directories=64,scale=1,seed=1"},
		{text: "", want: `"": write words of directories=64,scale=1/32,seed=1`, fails: true},
		{text: "scale=x", want: `"scale=x": write words of directories=64,scale=1/32,seed=1`, fails: true},
		{text: "scale=1/0", want: "scale=+Inf: write a number or a fraction above 0, at most 1", fails: true},
		{text: "scale=0/0", want: "scale=NaN: write a number or a fraction above 0, at most 1", fails: true},
		{text: "directories=0", want: "directories=0: write 1 to 100000", fails: true},
	}
	for _, tt := range tests {
		var s Spec
		err := s.UnmarshalText([]byte(tt.text))
		got := s.String()
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q: %s (error %v), want %s", tt.text, got, err, tt.want)
		}
	}
	if _, err := New(Spec{}); err == nil {
		t.Error("a set of nothing is made")
	}
}

func TestContent(t *testing.T) {
	f := File{Name: "/a", Bytes: 100_003}
	want, err := io.ReadAll(f.Content())
	if err != nil || len(want) != 100_003 {
		t.Fatalf("%d bytes, error %v", len(want), err)
	}
	if err := iotest.TestReader(f.Content(), want); err != nil {
		t.Error(err)
	}
	for range 100 {
		from := rand.Int64N(f.Bytes)
		c := f.Content()
		if _, err := c.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want[from:]) {
			t.Fatalf("from %d: %d bytes, or others; error %v", from, len(got), err)
		}
	}
	other, _ := io.ReadAll(File{Name: "/b", Bytes: f.Bytes}.Content())
	if bytes.Equal(other[:16], want[:16]) || (File{Name: "/b", Bytes: f.Bytes}).ETag() == f.ETag() {
		t.Error("another file is alike")
	}
}

// An empty file, and places that are none.
func TestContentEdges(t *testing.T) {
	if got, err := io.ReadAll(File{Name: "/a"}.Content()); err != nil || len(got) != 0 {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	c := File{Name: "/a", Bytes: 5}.Content()
	for _, seek := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-6, io.SeekEnd}, {0, 9}} {
		if _, err := c.Seek(seek.offset, seek.whence); err == nil {
			t.Errorf("%+v is accepted", seek)
		}
	}
	if at, err := c.Seek(7, io.SeekStart); at != 7 || err != nil {
		t.Errorf("beyond the end: %d, %v", at, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read beyond the end: %v", err)
	}
}

func BenchmarkContent(b *testing.B) {
	c := File{Name: "/a", Bytes: 1 << 40}.Content()
	buffer := make([]byte, 32<<10)
	b.SetBytes(int64(len(buffer)))
	for b.Loop() {
		_, _ = c.Read(buffer)
	}
}

func ExampleSpec() {
	fmt.Println(Default)
	// Output: directories=64,scale=1/32,seed=1
}

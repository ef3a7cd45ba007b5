// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// File is one of a Set.
type File struct {
	Name  string // its path in a URL: /download/dir00007/3-1
	Bytes int64
	Class int     // 0 (small) to 5
	Share float64 // of all picks; those of a Set sum to 1
}

// zipf is the exponent of the directories' popularity.
const zipf = 1.2

// class is one size class of a directory's files: how probable it is, and its
// files with what is probable among them.
type class struct {
	share  float64
	bytes  []float64
	within []float64
}

// classes are those of SPECweb2005 Support, unscaled.
var classes = []class{
	{.1366, steps(104_858, 104_858, 5), []float64{.273, .091, .165, .186, .285}},
	{.1261, steps(629_146, 125_829, 3), []float64{.579, .178, .243}},
	{.2840, steps(1_048_576, 492_831, 4), []float64{.275, .170, .170, .385}},
	{.2232, steps(4_194_304, 1_352_663, 2), []float64{.667, .333}},
	{.1250, steps(9_992_929, 0, 1), []float64{1}},
	{.1051, steps(37_748_736, 0, 1), []float64{1}},
}

func steps(first, step float64, count int) (sizes []float64) {
	for k := range count {
		sizes = append(sizes, first+step*float64(k))
	}
	return sizes
}

// Set is the files of a Spec. It does not change: many may use it at once.
type Set struct {
	spec   Spec
	files  []File
	byName map[string]int // index in files
	total  int64
	// cumulative[i] is the share of files up to the i-th; the last is 1.
	cumulative []float64
}

// New makes the set. The error says what is wrong with the Spec.
func New(spec Spec) (*Set, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	s := &Set{spec: spec, byName: map[string]int{}}
	popularity := popularities(spec.Directories)
	for rank, number := range rand.New(rand.NewPCG(spec.Seed, 0)).Perm(spec.Directories) {
		s.addDirectory(number, popularity[rank])
	}
	sum := 0.0
	for i, f := range s.files {
		s.byName[f.Name] = i
		s.total += f.Bytes
		sum += f.Share
		s.cumulative = append(s.cumulative, sum)
	}
	s.cumulative[len(s.files)-1] = 1 // whatever rounding made of it
	return s, nil
}

// popularities are those of n directories by rank; they sum to 1.
func popularities(n int) []float64 {
	all := make([]float64, n)
	sum := 0.0
	for i := range all {
		all[i] = math.Pow(float64(i+1), -zipf)
		sum += all[i]
	}
	for i := range all {
		all[i] /= sum
	}
	return all
}

func (s *Set) addDirectory(number int, popularity float64) {
	for c, class := range classes {
		for k, bytes := range class.bytes {
			s.files = append(s.files, File{
				Name:  fmt.Sprintf("/download/dir%05d/%d-%d", number, c, k),
				Bytes: max(1, int64(math.Round(bytes*s.spec.Scale))),
				Class: c,
				Share: popularity * class.share * class.within[k],
			})
		}
	}
}

// Spec is what the set was made of.
func (s *Set) Spec() Spec { return s.spec }

// Bytes is the size of all files together.
func (s *Set) Bytes() int64 { return s.total }

// Files are all files, those of the most popular directory first.
func (s *Set) Files() []File { return slices.Clone(s.files) }

// Lookup finds a file by its name.
func (s *Set) Lookup(name string) (File, bool) {
	i, found := s.byName[name]
	if !found {
		return File{}, false
	}
	return s.files[i], true
}

// Pick gives a file, each as often as its Share says.
func (s *Set) Pick(random *rand.Rand) File {
	at := random.Float64()
	return s.files[sort.Search(len(s.files), func(i int) bool { return s.cumulative[i] > at })]
}

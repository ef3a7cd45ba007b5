// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// Spec says which set. Two sets of one Spec are alike.
type Spec struct {
	Directories int     // of 16 files, 68 472 021 bytes in all before scaling; 1 to 100 000
	Scale       float64 // of all sizes; above 0, at most 1
	Seed        uint64  // which directories are the popular ones
}

// Default is 137 MB in 1 024 files: more than a node of lab 03-locality caches,
// less than four of them do.
var Default = Spec{Directories: 64, Scale: 1.0 / 32, Seed: 1}

const maxDirectories = 100_000

func (s Spec) validate() error {
	if s.Directories < 1 || s.Directories > maxDirectories {
		return fmt.Errorf("directories=%d: write 1 to %d", s.Directories, maxDirectories)
	}
	if !(s.Scale > 0 && s.Scale <= 1) { // NaN too
		return fmt.Errorf("scale=%g: write a number or a fraction above 0, at most 1", s.Scale)
	}
	return nil
}

// String gives what UnmarshalText reads: directories=64,scale=1/32,seed=1.
func (s Spec) String() string {
	scale := strconv.FormatFloat(s.Scale, 'g', -1, 64)
	if whole := 1 / s.Scale; whole > 1 && whole == float64(int(whole)) && 1/float64(int(whole)) == s.Scale {
		scale = "1/" + strconv.Itoa(int(whole))
	}
	return fmt.Sprintf("directories=%d,scale=%s,seed=%d", s.Directories, scale, s.Seed)
}

// MarshalText is String; with UnmarshalText it makes a Spec a flag's value.
func (s Spec) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads words of String in any order; what is left out is
// Default's.
func (s *Spec) UnmarshalText(text []byte) error {
	read := Default
	for word := range strings.SplitSeq(string(text), ",") {
		name, value, _ := strings.Cut(word, "=")
		if err := read.set(name, value); err != nil {
			return fmt.Errorf("%q: write words of %s", word, Default)
		}
	}
	if err := read.validate(); err != nil {
		return err
	}
	*s = read
	return nil
}

func (s *Spec) set(name, value string) (err error) {
	switch name {
	case "directories":
		s.Directories, err = strconv.Atoi(value)
	case "scale":
		s.Scale, err = fraction(value)
	case "seed":
		s.Seed, err = strconv.ParseUint(value, 10, 64)
	default:
		err = strconv.ErrSyntax
	}
	return err
}

// fraction reads 0.5 or 1/2.
func fraction(text string) (float64, error) {
	over, under, isFraction := strings.Cut(text, "/")
	value, err := strconv.ParseFloat(over, 64)
	if err != nil || !isFraction {
		return value, err
	}
	divisor, err := strconv.ParseFloat(under, 64)
	return value / divisor, err
}

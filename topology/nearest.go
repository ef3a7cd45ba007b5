// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"
)

// suggest gives the remedy for a word that is none of the known ones: the
// nearest of them, or all where none is near.
func suggest(word string, known []string) string {
	best, bestDistance := "", len(word)/2+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := editDistance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return "write " + best
	}
	return oneOf(known)
}

// oneOf gives the remedy that lists what may be written.
func oneOf(known []string) string {
	switch len(known) {
	case 0:
		return "leave it out"
	case 1:
		return "write " + known[0]
	}
	last := len(known) - 1
	return "write " + strings.Join(known[:last], ", ") + " or " + known[last]
}

// editDistance is Levenshtein's: insertions, deletions and replacements of
// bytes that make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong in a file or in an override.
type Problem struct {
	// Where is file:line, or the origin of an override, such as
	// "flag --heartbeat-interval". Empty in a Cluster that no file was read for.
	Where string
	Path  string // of the field: services[0].port
	What  string // is wrong
	Fix   string // what to write instead

	line int // sorts the problems of one file
}

func (p Problem) String() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{p.Where, p.Path, p.What} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	text := strings.Join(parts, ": ")
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return text
}

// Error makes a Problem an error on its own.
func (p Problem) Error() string { return p.String() }

// Problems is the error of Load, Parse, ParseLab and Validate: everything that
// is wrong, in the order of the file's lines.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders by line; problems of one line keep their order.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.line, b.line) })
	return ps
}

// err is ps as an error: a nil error when there is no problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// covers tells whether the field at path, or one that it is part of, already
// has a problem: what follows from it would only repeat it.
func (ps Problems) covers(path string) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool {
		rest, ok := strings.CutPrefix(path, p.Path)
		return ok && p.Path != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

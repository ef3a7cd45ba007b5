// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"strings"
)

// The ways in which a command line can end too early.
var (
	errOpenQuote  = errors.New("ends inside a quote")
	errOpenEscape = errors.New("ends with a backslash")
)

// SplitWords splits a command as containerlab does (shlex): by white space,
// with '...', "..." and \, and with # before a word for a comment. Nothing is
// expanded; who wants a shell writes sh -c.
func SplitWords(line string) ([]string, error) {
	var w wordSplitter
	for _, r := range line {
		w.next(r)
	}
	switch {
	case w.escaped:
		return nil, errOpenEscape
	case w.quote != 0:
		return nil, errOpenQuote
	}
	w.end()
	return w.words, nil
}

// wordSplitter is what is known after some runes of the line.
type wordSplitter struct {
	words   []string
	word    strings.Builder
	inWord  bool // true for an empty '' too
	quote   rune // 0 outside of quotes
	escaped bool
	comment bool
}

func (w *wordSplitter) next(r rune) {
	switch {
	case w.comment:
		w.comment = r != '\n'
	case w.escaped:
		w.escaped = false
		w.word.WriteRune(r)
	case r == '\\' && w.quote != '\'':
		w.escaped, w.inWord = true, true
	case w.quote != 0 && r == w.quote:
		w.quote = 0
	case w.quote != 0:
		w.word.WriteRune(r)
	case r == '\'' || r == '"':
		w.quote, w.inWord = r, true
	case strings.ContainsRune(" \t\r\n", r):
		w.end()
	case r == '#' && !w.inWord:
		w.comment = true
	default:
		w.inWord = true
		w.word.WriteRune(r)
	}
}

func (w *wordSplitter) end() {
	if w.inWord {
		w.words = append(w.words, w.word.String())
	}
	w.word.Reset()
	w.inWord = false
}

// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	tests := []struct {
		line string
		want []string
		err  error
	}{
		{"", nil, nil},
		{"  ip  addr\tadd 10.0.0.1/24 dev eth0\n", []string{"ip", "addr", "add", "10.0.0.1/24", "dev", "eth0"}, nil},
		{`sh -c "until a; do sleep 0.1; done"`, []string{"sh", "-c", "until a; do sleep 0.1; done"}, nil},
		{`a 'b "c" \d' e`, []string{"a", `b "c" \d`, "e"}, nil},
		{`a"b c"d`, []string{"ab cd"}, nil},
		{`a\ b "c\"d" \#`, []string{"a b", `c"d`, "#"}, nil},
		{`a '' ""`, []string{"a", "", ""}, nil},
		{"a # comment\nb#c", []string{"a", "b#c"}, nil},
		{"echo $HOME *", []string{"echo", "$HOME", "*"}, nil},
		{`a "b`, nil, errOpenQuote},
		{`a 'b`, nil, errOpenQuote},
		{`a \`, nil, errOpenEscape},
	}
	for _, tt := range tests {
		got, err := SplitWords(tt.line)
		if err != tt.err {
			t.Errorf("%q: error %v, want %v", tt.line, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", tt.line, diff)
		}
	}
}

func TestSuggest(t *testing.T) {
	tests := []struct {
		word  string
		known []string
		want  string
	}{
		{"intervall", []string{"misses", "interval"}, "write interval"},
		{"zz", []string{"misses", "interval", "x"}, "write misses, interval or x"},
		{"zz", []string{"rotate"}, "write rotate"},
		{"zz", nil, "leave it out"},
	}
	for _, tt := range tests {
		if got := suggest(tt.word, tt.known); got != tt.want {
			t.Errorf("suggest(%s, %v) = %q, want %q", tt.word, tt.known, got, tt.want)
		}
	}
}

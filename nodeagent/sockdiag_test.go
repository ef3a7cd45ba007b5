// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"
)

func TestFindAttr(t *testing.T) {
	name := []byte{8, 0, 1, 0, 't', 'c', 'p', 0}
	nested := append([]byte{12, 0, 19, 0x80}, name...)
	tests := []struct {
		name  string
		attrs []byte
		kind  uint16
		want  string
		found bool
	}{
		{"the first", name, 1, "tcp\x00", true},
		{"behind a padded one", append([]byte{5, 0, 9, 0, 'x', 0, 0, 0}, name...), 1, "tcp\x00", true},
		{"a nested one", nested, 19, string(name), true},
		{"not there", name, 2, "", false},
		{"none", nil, 1, "", false},
		{"shorter than its header", []byte{3, 0, 1, 0}, 1, "", false},
		{"longer than there is", []byte{9, 0, 1, 0, 'x'}, 1, "", false},
		{"an end without padding", []byte{5, 0, 9, 0, 'x'}, 1, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, found := findAttr(tt.attrs, tt.kind)
			if string(got) != tt.want || found != tt.found {
				t.Errorf("findAttr = %q, %t, want %q, %t", got, found, tt.want, tt.found)
			}
		})
	}
}

func TestDiagMessagesThatAreTooShort(t *testing.T) {
	if _, ok := parseDiag(make([]byte, diagMessageLen-1)); ok {
		t.Error("taken")
	}
}

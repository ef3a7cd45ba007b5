// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strings"
	"testing"
)

func TestLocalityKeyParse(t *testing.T) {
	tests := []struct {
		key      LocalityKey
		kind     KeyKind
		segments int
		name     string
	}{
		{"path", KeyPath, 0, ""},
		{"path-prefix:1", KeyPathPrefix, 1, ""},
		{"path-prefix:16", KeyPathPrefix, 16, ""},
		{"host+path", KeyHostPath, 0, ""},
		{"tls-sni", KeySNI, 0, ""},
		{"header:X-User", KeyHeader, 0, "x-user"},
		{"header:!#$%&'*+-.^_`|~0Az", KeyHeader, 0, "!#$%&'*+-.^_`|~0az"},
		{LocalityKey("header:" + strings.Repeat("n", MaxHeaderName)), KeyHeader, 0, strings.Repeat("n", MaxHeaderName)},
		{LocalityKey("header:" + strings.Repeat("n", MaxHeaderName+1)), 0, 0, ""},
		{"", 0, 0, ""},
		{"PATH", 0, 0, ""},
		{"path:", 0, 0, ""},
		{"tls-sni:1", 0, 0, ""},
		{"path-prefix", 0, 0, ""},
		{"path-prefix:0", 0, 0, ""},
		{"path-prefix:17", 0, 0, ""},
		{"path-prefix:+1", 0, 0, ""},
		{"path-prefix:01", 0, 0, ""},
		{"header", 0, 0, ""},
		{"header:", 0, 0, ""},
		{"header:a:b", 0, 0, ""},
		{"header:ü", 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.key), func(t *testing.T) {
			kind, segments, name := tt.key.Parse()
			if kind != tt.kind || segments != tt.segments || name != tt.name {
				t.Errorf("kind %v, %d segments, name %q; want %v, %d, %q", kind, segments, name, tt.kind, tt.segments, tt.name)
			}
		})
	}
}

func TestPolicyInspects(t *testing.T) {
	for policy, want := range map[Policy]bool{LeastConnection: false, RoundRobin: false, SourceHash: false, Locality: true, BoundedHash: true, "": false} {
		if policy.Inspects() != want {
			t.Errorf("policy %q inspects: %v", policy, !want)
		}
	}
}

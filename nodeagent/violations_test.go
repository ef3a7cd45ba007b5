// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestViolationsAreSaidWhenTheyBegin(t *testing.T) {
	var v violations
	for _, tt := range []struct {
		name   string
		read   map[string]uint64
		want   map[string]uint64
		saying int
	}{
		{"no filter yet", nil, nil, 0},
		{"of an earlier agent", map[string]uint64{"a": 2, "b": 0}, map[string]uint64{"a": 2}, 0},
		{"as before", map[string]uint64{"a": 2, "b": 0}, map[string]uint64{"a": 2}, 0},
		{"both grow", map[string]uint64{"a": 3, "b": 1}, map[string]uint64{"a": 3, "b": 1}, 2},
		{"one goes on", map[string]uint64{"a": 4, "b": 1}, map[string]uint64{"a": 4, "b": 1}, 0},
		{"unreadable", nil, map[string]uint64{"a": 4, "b": 1}, 0},
		{"the other begins again", map[string]uint64{"a": 4, "b": 2}, map[string]uint64{"a": 4, "b": 2}, 1},
	} {
		if said := v.take(tt.read); len(said) != tt.saying {
			t.Errorf("%s: said %v, want %d", tt.name, said, tt.saying)
		}
		if diff := cmp.Diff(tt.want, v.counts); diff != "" {
			t.Errorf("%s: counts (-want +got):\n%s", tt.name, diff)
		}
	}
}

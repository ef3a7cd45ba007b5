// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"testing"

	"github.com/onevip/onevip/labs"
)

func TestVictims(t *testing.T) {
	hosts := []labs.Host{{Name: "a"}, {Name: "b"}}
	members := []member{{Name: "a", Primary: 3}, {Name: "b", Primary: 1021}, {Name: "c"}}
	tests := []struct {
		fault string
		round int
		want  string
	}{
		{"crash", 0, "a"},
		{"crash", 3, "b"},
		{"scheduler-crash", 0, "b"},
		{"owner-link-down", 1, "c"},
	}
	for _, tt := range tests {
		fault, err := ParseFault(tt.fault)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fault.victim(hosts, members, tt.round)
		if err != nil || got != tt.want {
			t.Errorf("%s in round %d hits %q, %v; want %q", tt.fault, tt.round, got, err, tt.want)
		}
	}
}

func TestParseFault(t *testing.T) {
	for _, text := range []string{"", "scheduler", "scheduler-", "nobody-crash", "crash-owner"} {
		if fault, err := ParseFault(text); err == nil {
			t.Errorf("%q was taken for %q", text, fault)
		}
	}
}

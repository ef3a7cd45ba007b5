// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

func names[T fmt.Stringer](all []T) (out []string) {
	for _, v := range all {
		out = append(out, v.String())
	}
	return out
}

// The outcomes are those of enum outcome in the object, in its order, and those of the
// oracle; the fallbacks those of scheduler.Key, which others compare with the object.
func TestOutcomesAreThoseOfTheProgram(t *testing.T) {
	spec, err := loadBench()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("outcome", &enum); err != nil {
		t.Fatal(err)
	}
	var inC []string
	for i, v := range enum.Values {
		if v.Value != uint64(i) {
			t.Errorf("%s is %d, want %d", v.Name, v.Value, i)
		}
		inC = append(inC, strings.ToLower(strings.TrimPrefix(v.Name, "OUTCOME_")))
	}
	if diff := cmp.Diff(append(outcomes, "count"), inC); diff != "" {
		t.Errorf("outcomes (-Go +C):\n%s", diff)
	}
	if diff := cmp.Diff(names(scheduler.Outcomes()), outcomes); diff != "" {
		t.Errorf("outcomes (-scheduler +bpf):\n%s", diff)
	}
	if diff := cmp.Diff(names(scheduler.Fallbacks()), fallbacks); diff != "" {
		t.Errorf("fallbacks (-scheduler +bpf):\n%s", diff)
	}
	if len(outcomes) > outcomeFallback || outcomeFallback+len(fallbacks) > outcomeRoom {
		t.Errorf("%d outcomes and %d fallbacks do not fit", len(outcomes), len(fallbacks))
	}
}

func TestPackNodes(t *testing.T) {
	tests := []struct {
		name  string
		nodes []topology.NodeID
		word  uint64
		fails bool
	}{
		{"none", nil, 0, false},
		{"one", []topology.NodeID{254}, 254, false},
		{"the first is lowest", []topology.NodeID{1, 2, 3}, 0x030201, false},
		{"eight", []topology.NodeID{1, 2, 3, 4, 5, 6, 7, 8}, 0x0807060504030201, false},
		{"nine", []topology.NodeID{1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, true},
		{"nobody", []topology.NodeID{1, topology.Undecided}, 0, true},
		{"reserved", []topology.NodeID{255}, 0, true},
		{"twice", []topology.NodeID{4, 9, 4}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			word, err := packNodes(tt.nodes)
			if (err != nil) != tt.fails || err == nil && word != tt.word {
				t.Fatalf("packNodes = %#x, %v; want %#x, an error: %v", word, err, tt.word, tt.fails)
			}
			if err == nil {
				if diff := cmp.Diff(tt.nodes, unpackNodes(word)); diff != "" {
					t.Errorf("unpacked (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// What others changed earlier, or alike, is not taken over.
func TestTakeOver(t *testing.T) {
	here := onevipOvBucket{Nodes: 0x0201, Changed: 100, Requests: 7}
	tests := []struct {
		name           string
		nodes, changed uint64
		want           onevipOvBucket
	}{
		{"later", 0x03, 101, onevipOvBucket{Nodes: 0x03, Changed: 101, Requests: 7}},
		{"later, given up", 0, 101, onevipOvBucket{Changed: 101, Requests: 7}},
		{"at the same time", 0x03, 100, here},
		{"earlier", 0x03, 99, here},
		{"later, the same set", 0x0201, 101, here},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := here
			takeOver(&got, tt.nodes, tt.changed)
			if got != tt.want {
				t.Errorf("bucket %+v, want %+v", got, tt.want)
			}
		})
	}
}

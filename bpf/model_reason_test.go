// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// The reasons in Go are those of enum reason in the object, in its order.
func TestReasonsAreThoseOfTheProgram(t *testing.T) {
	spec, err := loadOnevip()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("reason", &enum); err != nil {
		t.Fatal(err)
	}
	var inC, inGo []string
	for i, v := range enum.Values {
		if v.Value != uint64(i) {
			t.Errorf("%s is %d, want %d", v.Name, v.Value, i)
		}
		inC = append(inC, strings.ToLower(strings.TrimPrefix(v.Name, "REASON_")))
	}
	for _, r := range Reasons() {
		inGo = append(inGo, r.String())
		if r.Text() == "" || r.Verdict() == "" {
			t.Errorf("%s has no text or no verdict", r)
		}
	}
	if diff := cmp.Diff(append(inGo, "count"), inC); diff != "" {
		t.Errorf("reasons (-Go +C):\n%s", diff)
	}
	if n := int(spec.Maps["reasons"].MaxEntries); n < len(inGo) {
		t.Errorf("map reasons has %d entries for %d reasons", n, len(inGo))
	}
}

// Numbers that stand in Go and in C.
func TestLimitsAreThoseOfTheProgram(t *testing.T) {
	if n := len(onevipOvConfig{}.Vip4); n != inlineVIPs {
		t.Errorf("struct ov_config holds %d VIPs, Go says %d", n, inlineVIPs)
	}
	if n := len(onevipOvConfig{}.Keys); n != 4 {
		t.Errorf("struct ov_config holds %d keys; two bits of the epoch name 4", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/scheduler"
)

// The oracle's fallbacks are those of enum fallback, in its order.
func TestFallbacksAreThoseOfTheOracle(t *testing.T) {
	spec, err := loadInspect()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("fallback", &enum); err != nil {
		t.Fatal(err)
	}
	var inC, inGo []string
	for i, v := range enum.Values {
		if v.Value != uint64(i) {
			t.Errorf("%s is %d, want %d", v.Name, v.Value, i)
		}
		inC = append(inC, strings.ToLower(strings.TrimPrefix(v.Name, "F_")))
	}
	for _, f := range scheduler.Fallbacks() {
		inGo = append(inGo, f.String())
	}
	if diff := cmp.Diff(append(inGo, "fallback_count"), inC); diff != "" {
		t.Errorf("fallbacks (-Go +C):\n%s", diff)
	}
}

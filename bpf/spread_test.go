// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

func TestSpreadOf(t *testing.T) {
	for own, want := range map[int]uint32{0: 1, 1: 1024, 250: 4, 256: 4, 300: 3, 512: 2, 800: 1, 1024: 1} {
		var table onevipOvSlots
		for i := range own {
			table.Primary[i] = 7
		}
		if got := spreadOf(&table, 7); got != want {
			t.Errorf("primary of %d slots: spread %d, want %d", own, got, want)
		}
	}
}

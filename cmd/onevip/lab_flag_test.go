// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What runs again inside a lab is the same command, but for --lab.
func TestSameCommand(t *testing.T) {
	root := rootCommand(&env{})
	cmd, rest, err := root.Find([]string{"locality", "show", "--lab", "mine", "--service=files", "--", "-odd key"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	want := []string{"onevip", "locality", "show", "--service=files", "--", "-odd key"}
	if diff := cmp.Diff(want, sameCommand(cmd, cmd.Flags().Args())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

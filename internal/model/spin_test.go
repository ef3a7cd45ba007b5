// SPDX-License-Identifier: Apache-2.0

package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every state that the protocol can come to keeps the invariants; and with any
// one of its rules left out, some state does not, or the model would prove nothing.
func TestTakeover(t *testing.T) {
	tests := []struct {
		name    string
		defines []string
		broken  bool
	}{
		{"requests must not run twice", nil, false},
		{"requests may run twice", []string{"-DREPLAY"}, false},
		{"a guard that does not wait for the fence", []string{"-DBROKEN_1"}, true},
		{"a node that keeps its sockets", []string{"-DBROKEN_2"}, true},
		{"a guard without records that adopts", []string{"-DBROKEN_3"}, true},
		{"a guard that does not wait for its predecessor's fence", []string{"-DBROKEN_4", "-DREPLAY"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { verify(t, "takeover.pml", tt.defines, tt.broken) })
	}
}

// The same, where an inspector decides whose the connection is. One failure is
// searched to the end here; two take some minutes: -DFAILURES=2.
func TestHandover(t *testing.T) {
	tests := []struct {
		name    string
		defines []string
		broken  bool
	}{
		{"requests must not run twice", nil, false},
		{"requests may run twice", []string{"-DREPLAY"}, false},
		{"an inspector that forgets what it decided", []string{"-DBROKEN_1"}, true},
		{"a node that takes what was for its old id", []string{"-DBROKEN_2"}, true},
		{"an inspector's guard that is not told", []string{"-DBROKEN_3"}, true},
		{"a guard that goes by silence while the inspector lives", []string{"-DBROKEN_4", "-DREPLAY"}, true},
		{"a node that forgets what it closed", []string{"-DBROKEN_5"}, true},
		{"a guard that does not wait for the fence", []string{"-DBROKEN_6"}, true},
		{"a fence that lets pass what is handed over", []string{"-DBROKEN_7"}, true},
		{"a guard that forgets the request", []string{"-DBROKEN_8"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { verify(t, "handover.pml", tt.defines, tt.broken) })
	}
}

// verify searches a model, to the end if no violation is to be found.
func verify(t *testing.T, model string, defines []string, broken bool) {
	t.Helper()
	report := search(t, model, defines)
	if strings.Contains(report, "max search depth too small") || strings.Contains(report, "out of memory") {
		t.Fatalf("the search was not exhaustive:\n%s", report)
	}
	if found := !strings.Contains(report, "errors: 0"); found != broken {
		t.Errorf("violation found: %t, want %t\n%s", found, broken, report)
	}
}

// search has Spin make a verifier of the model, and runs it to the end.
func search(t *testing.T, model string, defines []string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: make deps", tool)
		}
	}
	source, err := filepath.Abs(model)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, dir, "spin", append(append([]string{}, defines...), "-a", source)...)
	run(t, dir, "gcc", "-w", "-O1", "-DSAFETY", "-DVECTORSZ=2048", "-o", "pan", "pan.c")
	return run(t, dir, filepath.Join(dir, "pan"), "-m500000")
}

// run runs a tool in dir and gives what it printed.
func run(t *testing.T, dir, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

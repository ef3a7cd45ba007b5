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
		name     string
		settings []string
		broken   bool
	}{
		{"requests must not run twice", nil, false},
		{"requests may run twice", []string{"REPLAY=1"}, false},
		{"a guard that does not wait for the fence", []string{"BROKEN=1"}, true},
		{"a node that keeps its sockets", []string{"BROKEN=2"}, true},
		{"a guard without records that adopts", []string{"BROKEN=3"}, true},
		{"a guard that does not wait for its predecessor's fence", []string{"BROKEN=4", "REPLAY=1"}, true},
	}
	pan := build(t, "takeover.pml")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { verify(t, pan, tt.settings, tt.broken) })
	}
}

// The same, where an inspector decides whose the connection is. One failure is
// searched to the end here; two take some minutes: FAILURES=2.
func TestHandover(t *testing.T) {
	tests := []struct {
		name     string
		settings []string
		broken   bool
	}{
		{"requests must not run twice", nil, false},
		{"requests may run twice", []string{"REPLAY=1"}, false},
		{"an inspector that forgets what it decided", []string{"BROKEN=1"}, true},
		{"a node that takes what was for its old id", []string{"BROKEN=2"}, true},
		{"an inspector's guard that is not told", []string{"BROKEN=3"}, true},
		{"a guard that goes by silence while the inspector lives", []string{"BROKEN=4", "REPLAY=1"}, true},
		{"a node that forgets what it closed", []string{"BROKEN=5"}, true},
		{"a guard that does not wait for the fence", []string{"BROKEN=6"}, true},
		{"a fence that lets pass what is handed over", []string{"BROKEN=7"}, true},
		{"a guard that forgets the request", []string{"BROKEN=8"}, true},
	}
	pan := build(t, "handover.pml")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { verify(t, pan, tt.settings, tt.broken) })
	}
}

// verify searches a model, to the end if no violation is to be found.
func verify(t *testing.T, pan string, settings []string, broken bool) {
	t.Helper()
	report := run(t, settings, pan, "-m500000")
	if strings.Contains(report, "max search depth too small") || strings.Contains(report, "out of memory") {
		t.Fatalf("the search was not exhaustive:\n%s", report)
	}
	if found := !strings.Contains(report, "errors: 0"); found != broken {
		t.Errorf("violation found: %t, want %t\n%s", found, broken, report)
	}
}

// build has Spin make the verifier of a model; which rules it leaves out is said when it
// runs. To compile it takes as long as a search.
func build(t *testing.T, model string) (pan string) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes some seconds")
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
	t.Chdir(t.TempDir()) // where Spin and what it makes put their files
	run(t, nil, "spin", "-a", source)
	run(t, nil, "gcc", "-w", "-O1", "-DSAFETY", "-DVECTORSZ=2048", "-o", "pan", "pan.c")
	return "./pan"
}

// run runs a tool and gives what it printed.
func run(t *testing.T, settings []string, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), settings...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

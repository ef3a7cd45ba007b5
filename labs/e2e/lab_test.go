// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// commandLimit bounds each command that a test runs.
const commandLimit = 90 * time.Second

// lab is a running copy of lab 01-quickstart. Tests share copies: a copy is
// brought up by the first test that asks, and taken down after the last.
type lab struct {
	name string
	up   sync.Once
	err  error
	// change edits a copy of the lab's folder before it is brought up; nil: the
	// lab as it is.
	change func(dir string) error
	dir    string // of the edited copy
}

// onevip is the binary that all tests use: ONEVIP_BIN, or built here.
var onevip = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ONEVIP_BIN"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "onevip-e2e")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary folder
	path := filepath.Join(dir, "onevip")
	out, err := exec.Command("go", "build", "-o", path, "github.com/onevip/onevip/cmd/onevip").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build onevip: %w\n%s", err, out)
	}
	return path, nil
})

// cleanups run after the last test, the last one first.
var cleanups []func()

func downAll() {
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
}

// use brings the lab up, or skips the test where labs can't be.
func (l *lab) use(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("labs are not for -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("labs need root")
	}
	for _, tool := range []string{"ovs-vswitchd", "nginx", "curl", "wrk", "h2load", "nstat"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: make deps", tool)
		}
	}
	l.up.Do(func() { l.err = l.start() })
	if l.err != nil {
		t.Fatalf("lab: %v", l.err)
	}
}

func (l *lab) start() error {
	bin, err := onevip()
	if err != nil {
		return err
	}
	source := "01-quickstart"
	if l.change != nil {
		if l.dir, err = os.MkdirTemp("", "onevip-e2e"); err != nil {
			return err
		}
		cleanups = append(cleanups, func() { os.RemoveAll(l.dir) }) //nolint:errcheck // a temporary folder
		source = filepath.Join(l.dir, "lab")
		if err := os.CopyFS(source, os.DirFS("../01-quickstart")); err != nil {
			return err
		}
		if err := l.change(source); err != nil {
			return err
		}
	}
	l.name = fmt.Sprintf("e2e-%05x", rand.N(1<<20))
	cleanups = append(cleanups, func() { exec.Command(bin, "lab", "down", l.name).Run() }) //nolint:errcheck // best effort
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, "lab", "up", source, "--as", l.name, "--binary", bin).CombinedOutput()
	if err != nil {
		return fmt.Errorf("up: %w\n%s", err, out)
	}
	return nil
}

// command prepares a command in a host of the lab.
func (l *lab) command(ctx context.Context, host string, argv ...string) *exec.Cmd {
	bin, _ := onevip() // the lab is up: it is there
	return exec.CommandContext(ctx, bin, append([]string{"lab", "exec", "--lab", l.name, host, "--"}, argv...)...)
}

// try runs a command in a host and gives what it printed.
func (l *lab) try(host string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := l.command(ctx, host, argv...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %s: %w\n%s", host, strings.Join(argv, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// run is try for a command that must succeed.
func (l *lab) run(t *testing.T, host string, argv ...string) string {
	t.Helper()
	out, err := l.try(host, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// startCommand prepares a command in a host that goes on until the test ends.
func (l *lab) startCommand(t *testing.T, host string, argv ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := l.command(ctx, host, argv...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	t.Cleanup(func() {
		cancel()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("%s: %s:\n%s", host, strings.Join(argv, " "), stderr.String())
		}
	})
	return cmd
}

// show reads what a verb of onevip says of the lab's cluster.
func (l *lab) show(verb string, into any) error {
	bin, err := onevip()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, verb, "--lab", l.name, "-o", "json").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() != 3 {
		return fmt.Errorf("%s: %w\n%s", verb, err, exit.Stderr)
	}
	return json.Unmarshal(out, into)
}

// helper runs a verb of this binary in the client and reads its answer.
func (l *lab) helper(t *testing.T, into any, verb string, args ...string) {
	t.Helper()
	out := l.run(t, "client", helperCommand(t, verb, args...)...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("helper %s: %v\n%s", verb, err, out)
	}
}

// helperCommand runs a verb of this binary.
func helperCommand(t *testing.T, verb string, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{self, "helper", verb}, args...)
}

// counters are the kernel's SNMP counters of a host, by nstat's names.
func (l *lab) counters(t *testing.T, host string) map[string]int {
	t.Helper()
	var nstat struct{ Kernel map[string]int }
	if err := json.Unmarshal([]byte(l.run(t, host, "nstat", "-asz", "--json")), &nstat); err != nil {
		t.Fatalf("nstat: %v", err)
	}
	return nstat.Kernel
}

// eventually waits for a condition that reports what is still missing.
func eventually(t *testing.T, limit time.Duration, missing func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := missing()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("after %v: %v", limit, err)
		case <-tick.C:
		}
	}
}

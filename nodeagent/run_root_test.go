// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// pinEnv names the pin folder, in the process that has a network namespace.
const pinEnv = "ONEVIP_TEST_PIN_DIR"

func TestRun(t *testing.T) { inOwnProcess(t, "TestRun", runInNamespace) }

// inOwnProcess runs the test of that name again in a process with a network
// namespace of its own: Run belongs to a process, not to a thread.
func inOwnProcess(t *testing.T, name string, test func(t *testing.T, pins string)) {
	t.Helper()
	needRoot(t)
	if dir := os.Getenv(pinEnv); dir != "" {
		test(t, dir)
		return
	}
	dir := pinDir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), pinEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

// pinDir gives a folder on a BPF file system, which goes with the test.
func pinDir(t *testing.T) string {
	t.Helper()
	const root = "/sys/fs/bpf"
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.BPF_FS_MAGIC {
		t.Skipf("needs a BPF file system at %s", root)
	}
	dir, err := os.MkdirTemp(root, "onevip-agent-")
	if err != nil {
		t.Skipf("can not pin: %v", err)
	}
	t.Cleanup(func() {
		if err := bpf.RemovePins(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runInNamespace: an agent comes up, stops, another takes over, crashes so to
// speak, and all is cleaned up.
func runInNamespace(t *testing.T, pins string) {
	addVeth(t, "eth0", "eth1")
	up(t, "eth1")
	before := strangeSysctls(t)
	runDir := t.TempDir()
	cfg := Config{Cluster: "test", Node: "n1", Interface: "eth0", PinDir: pins, RunDir: runDir,
		Store: storeOf(t, testView(), withTCPCheck), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test"}

	for range 2 {
		stop := runAgent(t, cfg)
		wait(t, "the tables are in the kernel", func() bool { return agentOf(t, cfg).SlotEpoch == 4 })
		wantLo(t, bothVIPs...)
		server := listenPlain(t, ":80") // where the check looks
		wait(t, "the service is healthy", func() bool { return agentOf(t, cfg).Services["web"].Healthy })
		if w := agentOf(t, cfg).Warnings; len(w) > 0 {
			t.Errorf("warnings: %q", w)
		}
		server.Close()
		wait(t, "the service is unhealthy", func() bool {
			return strings.Contains(agentOf(t, cfg).Services["web"].Reason, "10.77.0.1:80: connection refused")
		})
		if err := Run(t.Context(), cfg); !errors.Is(err, errRunning) {
			t.Errorf("a second agent of the node: %v, want %v", err, errRunning)
		}
		stop()
		wantLo(t, bothVIPs...) // all stays when an agent stops
		if links, _ := filepath.Glob(pins + "/*/ingress"); len(links) != 1 {
			t.Errorf("pinned links when the agent has stopped: %q, want 1", links)
		}
	}

	for range 2 { // the second time there is nothing to do
		if err := Cleanup(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	wantLo(t)
	if diff := cmp.Diff(before, readAll(t)); diff != "" {
		t.Errorf("sysctls (-before +after):\n%s", diff)
	}
	for _, dir := range []string{pins, filepath.Join(runDir, "test", "n1")} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind", dir)
		}
	}
}

func runAgent(t *testing.T, cfg Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	}
}

func agentOf(t *testing.T, cfg Config) state.Agent {
	t.Helper()
	v, err := cfg.Store.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v.Agents[cfg.Node]
}

// storeOf makes a store that holds what a leader writes of a View.
func storeOf(t *testing.T, v state.View, edit func(*state.View)) *state.Memory {
	t.Helper()
	edit(&v)
	web := v.Services["web"]
	web.Health.Interval, web.Health.Timeout = state.Duration(5e7), state.Duration(5e8)
	v.Services[topology.ServiceName("web")] = web
	store := state.NewMemory()
	leader, err := store.Campaign(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Apply(t.Context(), recordsOf(v)...); err != nil {
		t.Fatal(err)
	}
	return store
}

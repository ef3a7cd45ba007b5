// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// commandLimit bounds each command that a test runs; transferLimit bounds what
// one gigabyte may take on a machine that has other things to do.
const (
	transferLimit = 3 * time.Minute
	commandLimit  = transferLimit + 10*time.Second
)

// lab is a running copy of a lab. Tests share copies: a copy is brought up by
// the first test that asks, and taken down after the last.
type lab struct {
	source string // empty: 01-quickstart
	name   string
	up     sync.Once
	err    error
	// change edits copies of the lab's folder and of the common one, which are in
	// dir, before it is brought up; nil: the lab as it is.
	change func(dir string) error
	dir    string
	set    []string // settings of the cluster: path=value
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
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
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
	l.up.Do(func() { l.err = l.bringUp() })
	if l.err != nil {
		t.Fatalf("lab: %v", l.err)
	}
}

func (l *lab) bringUp() error {
	bin, err := onevip()
	if err != nil {
		return err
	}
	source := cmp.Or(l.source, "01-quickstart")
	if l.change != nil {
		if l.dir, err = os.MkdirTemp("", "onevip-e2e"); err != nil {
			return err
		}
		cleanups = append(cleanups, func() { os.RemoveAll(l.dir) })
		for _, folder := range []string{source, "common"} {
			if err := os.CopyFS(filepath.Join(l.dir, folder), os.DirFS("../"+folder)); err != nil {
				return err
			}
		}
		source = filepath.Join(l.dir, source)
		if err := l.change(l.dir); err != nil {
			return err
		}
	}
	l.name = fmt.Sprintf("e2e-%05x", rand.N(1<<20))
	cleanups = append(cleanups, func() { exec.Command(bin, "lab", "down", l.name).Run() }) //nolint:errcheck // best effort
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	args := []string{"lab", "up", source, "--as", l.name, "--binary", bin}
	for _, setting := range l.set {
		args = append(args, "--set", setting)
	}
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
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

// start begins a command in a host. It ends when the test does, if stop was not
// called before.
func (l *lab) start(t *testing.T, host string, argv ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cmd: l.command(ctx, host, argv...), end: cancel}
	p.cmd.Stderr = &p.stderr
	// The command in the lab ends only if the one that runs it may end it.
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// process is a command that runs beside a test.
type process struct {
	cmd    *exec.Cmd
	end    context.CancelFunc
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr strings.Builder // to be read after the end
	once   sync.Once
	err    error
}

// stop ends the command, however that comes out.
func (p *process) stop() {
	p.end()
	p.once.Do(func() { p.err = p.cmd.Wait() })
}

// finish closes the command's stdin and waits for what it has to say at last.
func (p *process) finish(t *testing.T) string {
	t.Helper()
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	p.once.Do(func() { p.err = p.cmd.Wait() })
	if p.err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(p.cmd.Args, " "), p.err, p.stderr.String())
	}
	return string(out)
}

// line reads what the command says first.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.stop()
		t.Fatalf("%s: %q, %v\n%s", strings.Join(p.cmd.Args, " "), line, err, p.stderr.String())
	}
	return strings.TrimSpace(line)
}

// The exit codes of onevip that tests ask for.
const (
	exitUnhealthy   = 3
	exitUnreachable = 4
)

// onevipCommand runs the binary and gives what it printed and its exit code.
func onevipCommand(args ...string) (out []byte, code int, err error) {
	bin, err := onevip()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err = exec.CommandContext(ctx, bin, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode(), fmt.Errorf("onevip %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out, 0, err
}

// show reads what a verb of onevip says of the lab's cluster, well or not.
func (l *lab) show(verb string, into any) error {
	out, code, err := onevipCommand(verb, "--lab", l.name, "-o", "json")
	if err != nil && code != exitUnhealthy {
		return err
	}
	return json.Unmarshal(out, into)
}

// statusCode is how onevip status ends.
func (l *lab) statusCode() int {
	_, code, _ := onevipCommand("status", "--lab", l.name)
	return code
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

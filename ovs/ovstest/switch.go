// SPDX-License-Identifier: Apache-2.0

package ovstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Switch is a private Open vSwitch: ovsdb-server and ovs-vswitchd in a network
// namespace of their own, with the userspace datapath.
type Switch struct {
	*Namespace
	// Dir has the sockets, the database and the logs.
	Dir string
	// DB is the address of the OVSDB server, as in topology.Switch.OVSDB.
	DB string

	vswitchd *exec.Cmd
}

// Start starts a switch without bridges.
func Start(t testing.TB) *Switch {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovt") // short: it holds unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Switch{Namespace: newNamespace(t, "sw"), Dir: dir, DB: "unix:" + filepath.Join(dir, "db.sock")}
	s.Must(t, "ip", "link", "set", "lo", "up")
	s.tool(t, "ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	s.daemon(t, "ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=p"+s.DB,
		"--unixctl="+filepath.Join(dir, "ovsdb-server.ctl"))
	WaitFor(t, "the OVSDB server", func() bool {
		_, err := os.Stat(filepath.Join(dir, "db.sock"))
		return err == nil
	})
	s.Vsctl(t, "--no-wait", "init")
	s.startVswitchd(t)
	return s
}

func (s *Switch) startVswitchd(t testing.TB) {
	t.Helper()
	s.vswitchd = s.daemon(t, "ovs-vswitchd", s.DB, "--unixctl="+filepath.Join(s.Dir, "ovs-vswitchd.ctl"))
	WaitFor(t, "ovs-vswitchd to answer", func() bool {
		_, err := s.command(t, "ovs-appctl", "--timeout=5", "-t", s.ctl(), "version").CombinedOutput()
		return err == nil
	})
}

// Crash kills ovs-vswitchd; Revive starts it again.
func (s *Switch) Crash(t testing.TB) {
	t.Helper()
	stop(s.vswitchd)
}

// Revive starts ovs-vswitchd after Crash.
func (s *Switch) Revive(t testing.TB) {
	t.Helper()
	s.startVswitchd(t)
}

// Pause stops ovs-vswitchd without ending it, as a hung machine would; the
// function returned lets it go on.
func (s *Switch) Pause(t testing.TB) (resume func()) {
	t.Helper()
	if err := s.vswitchd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { _ = s.vswitchd.Process.Signal(syscall.SIGCONT) }
}

// daemon starts a program detached in the switch's namespace, killed when the
// test ends.
func (s *Switch) daemon(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	t.Cleanup(func() { stop(cmd) })
	var failed error
	s.Do(t, func() { failed = cmd.Start() })
	if failed != nil {
		t.Fatalf("start %s: %v", name, failed)
	}
	return cmd
}

// stop kills one process and waits for its end; again is harmless.
func stop(cmd *exec.Cmd) {
	if cmd.Process == nil || cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (s *Switch) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.Dir, "OVS_LOGDIR="+s.Dir, "OVS_DBDIR="+s.Dir)
}

func (s *Switch) ctl() string { return filepath.Join(s.Dir, "ovs-vswitchd.ctl") }

func (s *Switch) command(t testing.TB, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = s.env()
	return cmd
}

// tool runs a program of Open vSwitch and gives what it prints.
func (s *Switch) tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := s.command(t, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// Vsctl runs ovs-vsctl.
func (s *Switch) Vsctl(t testing.TB, args ...string) string {
	t.Helper()
	return s.tool(t, "ovs-vsctl", append([]string{"--timeout=10", "--db=" + s.DB}, args...)...)
}

// Ofctl runs ovs-ofctl in OpenFlow 1.3.
func (s *Switch) Ofctl(t testing.TB, args ...string) string {
	t.Helper()
	return s.tool(t, "ovs-ofctl", append([]string{"--timeout=10", "-O", "OpenFlow13"}, args...)...)
}

// Appctl runs ovs-appctl against ovs-vswitchd.
func (s *Switch) Appctl(t testing.TB, args ...string) string {
	t.Helper()
	return s.tool(t, "ovs-appctl", append([]string{"--timeout=10", "-t", s.ctl()}, args...)...)
}

// Megaflows lists the datapath flows that contain a text.
func (s *Switch) Megaflows(t testing.TB, containing string) []string {
	t.Helper()
	var flows []string
	for line := range strings.Lines(s.Appctl(t, "dpctl/dump-flows")) {
		if strings.Contains(line, containing) {
			flows = append(flows, strings.TrimSpace(line))
		}
	}
	return flows
}

// SPDX-License-Identifier: Apache-2.0

// Package killable is for tests that kill servers: it runs the test binary
// again as server processes behind one address, and kills them.
package killable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// processEnv marks a process that is to serve.
const processEnv = "ONEVIP_TEST_SERVER"

// Main is called first in TestMain. In a server process it calls serve, and
// does not return.
func Main(serve func() error) {
	if os.Getenv(processEnv) == "" {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const ready = "ready\n"

// Ready is called by serve when it listens.
func Ready() { fmt.Print(ready) }

// Listen listens on an address that other processes listen on too: the kernel
// gives a new connection to one that lives.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return (&net.ListenConfig{Control: reusePort}).Listen(ctx, "tcp", addr)
}

func reusePort(_, _ string, c syscall.RawConn) error {
	var serr error
	err := c.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, serr)
}

// Address reserves a loopback port for Listen until the test ends.
func Address(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// Servers are equal processes.
type Servers struct {
	env   []string
	procs []*exec.Cmd
}

// Start starts n servers with more environment, and kills them with the test.
func Start(t *testing.T, n int, env ...string) *Servers {
	t.Helper()
	s := &Servers{
		env:   append(append(os.Environ(), processEnv+"=1"), env...),
		procs: make([]*exec.Cmd, n),
	}
	t.Cleanup(s.KillAll)
	for i := range s.procs {
		s.Restart(t, i)
	}
	return s
}

// Count returns n.
func (s *Servers) Count() int { return len(s.procs) }

// KillAll is kill -9 to all.
func (s *Servers) KillAll() {
	for i := range s.procs {
		s.kill(i)
	}
}

func (s *Servers) kill(i int) {
	if s.procs[i] != nil {
		s.procs[i].Process.Kill()
		s.procs[i].Wait()
	}
}

// Restart kills a server and starts another in its place.
func (s *Servers) Restart(t *testing.T, i int) {
	t.Helper()
	s.kill(i)
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = s.env, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.procs[i] = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); line != ready {
		t.Fatalf("server process says %q: %v", line, err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/checkpoint"
)

// TestMain is also the server processes that the tests kill.
func TestMain(m *testing.M) {
	if os.Getenv(dirEnv) != "" {
		if err := serveProcess(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Environment of a server process.
const (
	dirEnv  = "STREAM_TEST_DIR"
	keysEnv = "STREAM_TEST_KEYS"
	addrEnv = "STREAM_TEST_ADDR"
	rateEnv = "STREAM_TEST_RATE"
	liveEnv = "STREAM_TEST_LIVE" // URL that /live follows
)

func serveProcess() error {
	keys, err := checkpoint.OpenKeyFile(os.Getenv(keysEnv))
	if err != nil {
		return err
	}
	pace, err := ParsePace(os.Getenv(rateEnv))
	if err != nil {
		return err
	}
	pace.Burst = testBurst
	pace.Backlog = 64 << 10
	opts := ServerOptions{Keys: keys, Pace: pace}
	ctx := context.Background()
	if from := os.Getenv(liveEnv); from != "" {
		live := NewLive(8 << 20)
		opts.Live = map[string]*Live{"live": live}
		go live.Follow(ctx, from, func(err error) { fmt.Fprintln(os.Stderr, "follow:", err) })
	}
	srv, err := NewServer(os.Getenv(dirEnv), opts)
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{Control: reusePort}).Listen(ctx, "tcp", os.Getenv(addrEnv))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return srv.Serve(ctx, ln)
}

// reusePort lets several processes listen on one address.
func reusePort(_, _ string, c syscall.RawConn) error {
	var serr error
	err := c.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return serr
}

// cluster is server processes behind one address.
type cluster struct {
	env   []string
	url   *url.URL
	procs []*exec.Cmd
}

// startCluster starts n servers of dir. More environment may be given.
func startCluster(t *testing.T, n int, dir string, env ...string) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts and kills processes: not in short mode")
	}
	addr := sharedAddress(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	if _, err := checkpoint.RotateKeyFile(keys, 0); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		env:   append(append(os.Environ(), dirEnv+"="+dir, keysEnv+"="+keys, addrEnv+"="+addr), env...),
		url:   &url.URL{Scheme: "http", Host: addr, Path: "/"},
		procs: make([]*exec.Cmd, n),
	}
	t.Cleanup(func() {
		for i := range c.procs {
			c.kill(i)
		}
	})
	for i := range c.procs {
		c.start(t, i)
	}
	return c
}

func (c *cluster) start(t *testing.T, i int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = c.env, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.procs[i] = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("server process says %q: %v", line, err)
	}
}

// kill is kill -9.
func (c *cluster) kill(i int) {
	if c.procs[i] != nil {
		c.procs[i].Process.Kill()
		c.procs[i].Wait()
	}
}

// restart kills a server and starts another in its place.
func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	c.kill(i)
	c.start(t, i)
}

// sharedAddress reserves a loopback port for processes with reusePort.
func sharedAddress(t *testing.T) string {
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

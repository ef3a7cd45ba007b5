// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// TestMain is also the server processes that the tests kill: with
// serveEnv set, the test binary serves and does nothing else.
func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		if err := serveApps(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	flag.Set("rapid.nofailfile", "true")
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Environment of a server process: the key file, and the addresses of its two
// applications.
const (
	serveEnv    = "CHECKPOINT_TEST_KEYS"
	downloadEnv = "CHECKPOINT_TEST_DOWNLOAD"
	mixEnv      = "CHECKPOINT_TEST_MIX"
)

func serveApps() error {
	keys, err := OpenKeyFile(os.Getenv(serveEnv))
	if err != nil {
		return err
	}
	var group errgroup.Group
	for addr, app := range map[string]HandlerFunc{
		os.Getenv(downloadEnv): pacedDownloadApp,
		os.Getenv(mixEnv):      mixApp,
	} {
		srv, err := NewServer("test", keys, app, ServerOptions{})
		if err != nil {
			return err
		}
		lc := net.ListenConfig{Control: reusePort}
		ln, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return err
		}
		group.Go(func() error { return srv.Serve(context.Background(), ln) })
	}
	fmt.Println("ready")
	return group.Wait()
}

// reusePort lets several processes listen on one address: the kernel gives a
// new connection to one that lives.
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

// sharedAddress reserves a loopback port that processes with reusePort can
// listen on.
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

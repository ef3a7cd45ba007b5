// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/onevip/onevip/checkpoint/internal/killable"
)

// TestMain is also the server processes that the tests kill.
func TestMain(m *testing.M) {
	killable.Main(serveApps)
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
	keysEnv     = "CHECKPOINT_TEST_KEYS"
	downloadEnv = "CHECKPOINT_TEST_DOWNLOAD"
	mixEnv      = "CHECKPOINT_TEST_MIX"
)

func serveApps() error {
	keys, err := OpenKeyFile(os.Getenv(keysEnv))
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
		ln, err := killable.Listen(context.Background(), addr)
		if err != nil {
			return err
		}
		group.Go(func() error { return srv.Serve(context.Background(), ln) })
	}
	killable.Ready()
	return group.Wait()
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/onevip/onevip/checkpoint"
	"github.com/onevip/onevip/checkpoint/internal/killable"
)

// TestMain is also the server processes that the tests kill.
func TestMain(m *testing.M) {
	killable.Main(serveProcess)
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
	ln, err := killable.Listen(ctx, os.Getenv(addrEnv))
	if err != nil {
		return err
	}
	killable.Ready()
	return srv.Serve(ctx, ln)
}

// cluster is server processes behind one address.
type cluster struct {
	*killable.Servers
	url *url.URL
}

// startCluster starts n servers of dir. More environment may be given.
func startCluster(t *testing.T, n int, dir string, env ...string) cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts and kills processes: not in short mode")
	}
	addr := killable.Address(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	if _, err := checkpoint.RotateKeyFile(keys, 0); err != nil {
		t.Fatal(err)
	}
	servers := killable.Start(t, n, append(env, dirEnv+"="+dir, keysEnv+"="+keys, addrEnv+"="+addr)...)
	return cluster{servers, &url.URL{Scheme: "http", Host: addr, Path: "/"}}
}

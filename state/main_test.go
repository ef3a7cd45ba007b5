// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// etcd's server keeps these for the life of the process.
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc.(*watchServer).Watch"),
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	)
}

// patience is how long a test waits for what must come.
const patience = 15 * time.Second

// await takes Updates until one is as wanted.
func await(t *testing.T, updates <-chan Update, what string, wanted func(Update) bool) Update {
	t.Helper()
	deadline := time.After(patience)
	var last Update
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				t.Fatalf("waiting for %s: the watch ended", what)
			}
			if last = u; wanted(u) {
				return u
			}
		case <-deadline:
			t.Fatalf("no %s; the last update: %+v", what, last)
		}
	}
}

func receive[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func lead(t *testing.T, store Store, name string) Leadership {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := store.Campaign(ctx, name)
	if err != nil {
		t.Fatalf("campaign: %v", err)
	}
	t.Cleanup(func() { _ = l.Resign(context.Background()) })
	return l
}

// quiet is a log for tests that break things on purpose.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func startEmbedded(t *testing.T, dir, listen string) *Embedded {
	t.Helper()
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Cluster: "test", Listen: listen, DataDir: dir, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func dial(t *testing.T, cluster string, endpoints ...string) *Etcd {
	t.Helper()
	e, err := Dial(t.Context(), DialConfig{Endpoints: endpoints, Cluster: cluster, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

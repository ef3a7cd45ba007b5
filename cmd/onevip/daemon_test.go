// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemd listens where a daemon reports to.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buffer := make([]byte, 100)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatalf("systemd heard nothing: %v", err)
	}
	return string(buffer[:n])
}

func TestDaemonTellsSystemd(t *testing.T) {
	conn := systemd(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runDaemon(ctx, "127.0.0.1:0", newRegistry(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	if got := hear(t, conn); got != "READY=1" {
		t.Errorf("at first systemd heard %q", got)
	}
	cancel()
	if got := hear(t, conn); got != "STOPPING=1" {
		t.Errorf("at last systemd heard %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("a daemon that was told to end ended with %v", err)
	}
}

func TestDaemonReturnsWhatFailed(t *testing.T) {
	want := errors.New("no switch")
	err := runDaemon(t.Context(), "", newRegistry(), func(context.Context) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("runDaemon: %v, want %v", err, want)
	}
	if err := runDaemon(t.Context(), "192.0.2.1:1", newRegistry(), nil); err == nil {
		t.Error("a daemon began though it could not listen for /metrics")
	}
}

func TestMetricsAndHealth(t *testing.T) {
	listener, err := listenMetrics(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveMetrics(ctx, listener, newRegistry()) }()

	for path, want := range map[string]string{
		"/metrics": `onevip_build_info{version="unversioned"} 1`,
		"/healthz": "ok",
	} {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %v, want %q in\n%s", path, response.Status, err, want, body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serveMetrics: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// The load meets a server whose connections are all reset in the middle of it:
// streams end there, talking or silent, and new connections go on.
func TestLoadSeesResets(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "n1\n")
	}))
	opened := make(chan net.Conn, 100)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened <- c
		}
	}
	server.Start()
	defer server.Close()
	load := Load{
		VIP: netip.MustParseAddrPort(server.Listener.Addr().String()), From: netip.MustParseAddr("127.0.0.1"), Froms: 8,
		Rate: 50, For: 500 * time.Millisecond, Streams: 4,
	}
	reset := func() {
		for range load.Streams {
			c := <-opened
			if err := c.(*net.TCPConn).SetLinger(0); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	}
	trace, err := load.Run(context.Background(), reset)
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Connects) != 25 || len(trace.Streams) != 4 {
		t.Fatalf("%d connects and %d streams, want 25 and 4", len(trace.Connects), len(trace.Streams))
	}
	for i, c := range trace.Connects {
		if c.Err != "" || c.Broken != "" || c.At.IsZero() {
			t.Errorf("connect %d: %+v", i, c)
		}
	}
	for i, s := range trace.Streams {
		if s.Node != "n1" || s.Talking != (i%2 == 0) || s.Ended.IsZero() || s.Err == "" {
			t.Errorf("stream %d: %+v", i, s)
		}
	}
}

// Nothing ends by itself: streams that nobody resets are seen alive.
func TestLoadLeavesStreamsAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "n1") }))
	defer server.Close()
	load := Load{
		VIP: netip.MustParseAddrPort(server.Listener.Addr().String()), From: netip.MustParseAddr("127.0.0.1"), Froms: 1,
		Rate: 20, For: 200 * time.Millisecond, Streams: 3,
	}
	trace, err := load.Run(context.Background(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range trace.Streams {
		if !s.Ended.IsZero() {
			t.Errorf("stream %d: %+v", i, s)
		}
	}
}

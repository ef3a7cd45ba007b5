// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func serviceAt(at netip.AddrPort, kind topology.HealthKind, path string) state.Service {
	return state.Service{Name: "web", VIPs: []netip.Addr{at.Addr()}, Port: at.Port(), Health: state.Health{
		Type: kind, Path: path, Interval: state.Duration(10 * time.Millisecond), Timeout: state.Duration(2 * time.Second)}}
}

func TestHTTPChecks(t *testing.T) {
	var agent atomic.Value
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		agent.Store(r.UserAgent())
		_, _ = w.Write(make([]byte, maxBody*2)) // more than is read
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ill", http.StatusFound) })
	mux.HandleFunc("/ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/torn", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("short"))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	defer server.Close()
	at := server.Listener.Addr().(*net.TCPAddr).AddrPort()
	tests := []struct{ path, want string }{
		{"/ok", ""},
		{"ok", ""},
		{"/moved", ""},
		{"/ill", "GET /ill: HTTP status 503 Service Unavailable"},
		{"/none", "HTTP status 404"},
		{"/torn", "GET /torn: body: unexpected EOF"},
		{"/slow", "no answer within 50ms"},
	}
	for _, tt := range tests {
		s := serviceAt(at, topology.HealthHTTP, tt.path)
		if tt.path == "/slow" {
			s.Health.Timeout = state.Duration(50 * time.Millisecond)
		}
		got := checkService(t.Context(), s)
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) || got != "" && !strings.HasPrefix(got, at.String()+": ") {
			t.Errorf("%s: %q, want %q", tt.path, got, tt.want)
		}
	}
	if agent.Load() != "onevip-health/1" {
		t.Errorf("user agent is %v", agent.Load())
	}
}

func TestTCPChecks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	s := serviceAt(at, topology.HealthTCP, "")
	if got := checkService(t.Context(), s); got != "" {
		t.Errorf("a listener: %q", got)
	}
	s.VIPs = append(s.VIPs, netip.MustParseAddr("::1")) // nobody listens there
	if got := checkService(t.Context(), s); !strings.Contains(got, "[::1]:") {
		t.Errorf("one of two VIPs: %q, want a failure at [::1]", got)
	}
	listener.Close()
	if got, want := checkService(t.Context(), s), at.String()+": connection refused"; got != want {
		t.Errorf("nobody: %q, want %q", got, want)
	}
}

func TestCheckersFollowTheServices(t *testing.T) {
	results := make(chan event)
	c := &checkers{results: results, check: func(_ context.Context, s state.Service) string { return "of " + string(s.Name) }}
	at := netip.MustParseAddrPort("127.0.0.1:1")
	mail := serviceAt(at, topology.HealthTCP, "")
	mail.Name = "mail"
	none := serviceAt(at, topology.HealthNone, "")
	none.Name = "none"
	c.replace(t.Context(), []state.Service{serviceAt(at, topology.HealthTCP, ""), none})
	for range 3 {
		if got := (<-results).(checkEnded); got.service != "web" || got.failure != "of web" {
			t.Errorf("result is %+v, want one of web", got)
		}
	}
	c.replace(t.Context(), []state.Service{mail}) // nobody takes what web had to say
	for range 3 {
		if got := (<-results).(checkEnded); got.service != "mail" {
			t.Errorf("result is %+v, want one of mail", got)
		}
	}
	c.end()
}

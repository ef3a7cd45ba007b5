// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/onevip/onevip/labs/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spec is one directory, whose files have 1 049 to 377 487 bytes.
var spec = workload.Spec{Directories: 1, Scale: .01}

func options(t *testing.T) Options {
	t.Helper()
	set, err := workload.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Node: "n1", Files: set, Cache: 1 << 20, Disk: rateOfTests, Seek: seekOfTests}
}

// with runs a story with an origin in a bubble.
func with(t *testing.T, story func(*testing.T, *Origin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, err := New(options(t))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		story(t, o)
	})
}

// ask sends a request with headers, name and value in turn.
func ask(handler http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, answer *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return string(all)
}

func contentOf(t *testing.T, f workload.File) string {
	t.Helper()
	all, err := io.ReadAll(f.Content())
	if err != nil {
		t.Error(err)
	}
	return string(all)
}

func TestAnswers(t *testing.T) {
	set := options(t).Files
	f := set.Files()[3]
	all := contentOf(t, f)
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		cache              string // X-Cache
		body               string
	}{
		{"no read for a look", "HEAD", f.Name, nil, 200, "miss", ""},
		{"no read for what the client has", "GET", f.Name, []string{"If-None-Match", f.ETag()}, 304, "", ""},
		{"nor for a wrong range", "GET", f.Name, []string{"Range", "bytes=999999-"}, 416, "", "invalid range: failed to overlap\n"},
		{"first", "GET", f.Name, nil, 200, "miss", all},
		{"second", "GET", f.Name, nil, 200, "hit", all},
		{"look", "HEAD", f.Name, nil, 200, "hit", ""},
		{"range", "GET", f.Name, []string{"Range", "bytes=1000-1999"}, 206, "hit", all[1000:2000]},
		{"end", "GET", f.Name, []string{"Range", "bytes=-5"}, 206, "hit", all[len(all)-5:]},
		{"several ranges", "GET", f.Name, []string{"Range", "bytes=0-1,5-6"}, 200, "hit", all},
		{"another one's tag", "GET", f.Name, []string{"If-None-Match", `"x"`}, 200, "hit", all},
		{"range of an older one", "GET", f.Name, []string{"Range", "bytes=1-2", "If-Range", `"x"`}, 200, "hit", all},
		{"range, cold", "GET", set.Files()[4].Name, []string{"Range", "bytes=7-8"}, 206, "miss", contentOf(t, set.Files()[4])[7:9]},
		{"name", "GET", "/whoami", nil, 200, "", "n1\n"},
		{"name by another path", "GET", "/whoami/7", nil, 200, "", "n1\n"},
		{"unknown", "GET", "/download/dir00001/0-0", nil, 404, "", "no such file among directories=1,scale=1/100,seed=0\n"},
		{"no upload", "PUT", f.Name, nil, 405, "", "Method Not Allowed\n"},
		{"no flush for clients", "POST", "/origin/flush", nil, 404, "", "404 page not found\n"},
	}
	with(t, func(t *testing.T, o *Origin) {
		for _, tt := range tests {
			answer := ask(o.Handler(), tt.method, tt.path, tt.headers...)
			if answer.StatusCode != tt.status || answer.Header.Get("X-Cache") != tt.cache || bodyOf(t, answer) != tt.body {
				t.Errorf("%s: status %d, header %v", tt.name, answer.StatusCode, answer.Header)
			}
			if answer.Header.Get("X-Node") != "n1" {
				t.Errorf("%s: X-Node %q", tt.name, answer.Header.Get("X-Node"))
			}
			if length := answer.Header.Get("Content-Length"); tt.cache != "" && tt.body != "" && length != fmt.Sprint(len(tt.body)) {
				t.Errorf("%s: Content-Length %s", tt.name, length)
			}
		}
	})
}

func TestEcho(t *testing.T) {
	with(t, func(t *testing.T, o *Origin) {
		for _, tt := range []struct{ bytes, status int }{{0, 200}, {mostEchoed, 200}, {mostEchoed + 1, 413}} {
			sent := strings.Repeat("x", tt.bytes)
			w := httptest.NewRecorder()
			o.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/echo/any/path", strings.NewReader(sent)))
			if w.Code != tt.status || w.Code == 200 && w.Body.String() != sent {
				t.Errorf("%d bytes: status %d, %d came back", tt.bytes, w.Code, w.Body.Len())
			}
		}
	})
}

func TestStats(t *testing.T) {
	with(t, func(t *testing.T, o *Origin) {
		f := o.options.Files.Files()[3]
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { bodyOf(t, ask(o.Handler(), "GET", f.Name)) })
		}
		group.Wait()
		ask(o.Handler(), "GET", f.Name, "Range", "bytes=0-99")
		ask(o.Handler(), "GET", f.Name, "If-None-Match", f.ETag())
		want := Stats{
			Node: "n1", Workload: "directories=1,scale=1/100,seed=0",
			Requests: 4, Hits: 1, Misses: 1, Shared: 2, NotModified: 1,
			BytesServed: 3*f.Bytes + 100, StorageRead: f.Bytes, CacheBytes: f.Bytes, CacheFiles: 1, CacheLimit: 1 << 20,
		}
		for _, handler := range []http.Handler{o.Handler(), o.Control()} {
			var got Stats
			if err := json.Unmarshal([]byte(bodyOf(t, ask(handler, "GET", "/origin/stats"))), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		if status := ask(o.Control(), "POST", "/origin/flush").StatusCode; status != http.StatusNoContent {
			t.Errorf("flush: status %d", status)
		}
		if after := o.Stats(); after.CacheBytes != 0 || after.CacheFiles != 0 || after.Misses != 1 {
			t.Errorf("after the flush: %+v", after)
		}
	})
}

func TestOptions(t *testing.T) {
	tests := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Files = nil }, "no files"},
		{func(o *Options) { o.Cache = -1 }, "a cache"},
		{func(o *Options) { o.Disk = 0 }, "a disk"},
		{func(o *Options) { o.Seek = -1 }, "a seek"},
	}
	for _, tt := range tests {
		o := options(t)
		tt.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one of %s", err, tt.want)
		}
	}
}

// Over the network, whose sockets are no MPTCP ones; and a client that goes away
// leaves nothing.
func TestServe(t *testing.T) {
	o, err := New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checkPlainTCP(t, ln)
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, o.Handler()) }()
	large := o.options.Files.Files()[15]
	request, _ := http.NewRequestWithContext(ctx, "GET", "http://"+ln.Addr().String()+large.Name, nil)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(answer.Body, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	_ = answer.Body.Close() // long before its end
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func checkPlainTCP(t *testing.T, ln net.Listener) {
	t.Helper()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		protocol, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PROTOCOL)
		if err != nil || protocol != syscall.IPPROTO_TCP {
			t.Errorf("the listener's protocol is %d, error %v", protocol, err)
		}
	})
}

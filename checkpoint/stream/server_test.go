// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// startServer serves dir on loopback for the test's life.
func startServer(t *testing.T, dir string, opts ServerOptions) *url.URL {
	t.Helper()
	if opts.Keys == nil {
		opts.Keys = checkpoint.NewKeyRing(checkpoint.GenerateKey())
	}
	srv, err := NewServer(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return &url.URL{Scheme: "http", Host: ln.Addr().String(), Path: "/"}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBothWaysAnswerAlike asks by plain HTTP and through a checkpointed stream:
// status, body and the headers that matter are the same.
func TestBothWaysAnswerAlike(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "film.ts", strings.Repeat("0123456789", 1000))
	write(t, dir, "sub/<odd> name.mp4", "odd")
	write(t, filepath.Dir(dir), "outside.txt", "not yours")
	if err := os.Symlink("../outside.txt", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	u := startServer(t, dir, ServerOptions{})
	plain := &http.Client{Transport: &http.Transport{}}
	inner := &http.Client{Transport: NewTransport(u, TransportOptions{})}
	defer plain.CloseIdleConnections()
	defer inner.CloseIdleConnections()
	cases := []struct {
		method, path string
		header       [2]string
		want         int
	}{
		{"GET", "/film.ts", [2]string{}, 200},
		{"HEAD", "/film.ts", [2]string{}, 200},
		{"GET", "/film.ts", [2]string{"Range", "bytes=5-9"}, 206},
		{"GET", "/film.ts", [2]string{"Range", "bytes=9990-"}, 206},
		{"GET", "/film.ts", [2]string{"Range", "bytes=-7"}, 206},
		{"GET", "/film.ts", [2]string{"Range", "bytes=20000-"}, 416},
		{"GET", "/film.ts", [2]string{"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, 304},
		{"GET", "/film.ts", [2]string{"If-Range", `"other"`}, 200},
		{"GET", "/sub/%3Codd%3E%20name.mp4", [2]string{}, 200},
		{"GET", "/sub/", [2]string{}, 200},
		{"GET", "/none", [2]string{}, 404},
		{"GET", "/../outside.txt", [2]string{}, 404},
		{"GET", "/%2e%2e/outside.txt", [2]string{}, 404},
		{"GET", "/link.txt", [2]string{}, 500},
		{"DELETE", "/film.ts", [2]string{}, 405},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path+" "+c.header[1], func(t *testing.T) {
			a, aBody := ask(t, plain, u, c.method, c.path, c.header)
			b, bBody := ask(t, inner, u, c.method, c.path, c.header)
			if a.StatusCode != c.want || b.StatusCode != c.want {
				t.Errorf("plain %d, checkpointed %d, want %d", a.StatusCode, b.StatusCode, c.want)
			}
			if aBody != bBody {
				t.Errorf("plain body %.60q, checkpointed %.60q", aBody, bBody)
			}
			for _, name := range []string{"Content-Length", "Content-Range", "Content-Type", "Etag", "Last-Modified", "Accept-Ranges"} {
				if x, y := a.Header.Get(name), b.Header.Get(name); x != y && c.want < 400 {
					t.Errorf("%s: plain %q, checkpointed %q", name, x, y)
				}
			}
		})
	}
}

func ask(t *testing.T, client *http.Client, u *url.URL, method, path string, header [2]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+u.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header[0] != "" {
		req.Header.Set(header[0], header[1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestConnectorNamesWhatIsWrong(t *testing.T) {
	other := http.Server{Handler: http.NotFoundHandler()}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go other.Serve(ln)
	defer other.Close()
	u := &url.URL{Scheme: "http", Host: ln.Addr().String(), Path: "/x"}
	_, err = Fetch(context.Background(), NewTransport(u, TransportOptions{}), u, "", io.Discard, nil)
	if !errors.Is(err, checkpoint.ErrProtocol) || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v, want %v that says 404", err, checkpoint.ErrProtocol)
	}
}

// TestOtherFileIsRefused: the server that takes over has another film.
func TestOtherFileIsRefused(t *testing.T) {
	keys := checkpoint.NewKeyRing(checkpoint.GenerateKey())
	dirA, dirB := t.TempDir(), t.TempDir()
	write(t, dirA, "film.ts", strings.Repeat("a", 1<<20))
	write(t, dirB, "film.ts", strings.Repeat("b", 1<<20+1))
	pace := Pace{Rate: 1 << 20, Burst: testBurst}
	a := startServer(t, dirA, ServerOptions{Keys: keys, Pace: pace})
	b := startServer(t, dirB, ServerOptions{Keys: keys, Pace: pace})
	var conn net.Conn
	next := a
	s, err := checkpoint.Dial(context.Background(), "", checkpoint.Options{Connect: func(ctx context.Context) (c net.Conn, err error) {
		c, err = Connector(next, nil)(ctx)
		conn, next = c, b
		return c, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fmt.Fprint(s, "GET /film.ts HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.CopyN(io.Discard, s, 100_000); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, checkpoint.ErrState) || !strings.Contains(err.Error(), "not the file") {
		t.Errorf("error %v, want %v", err, checkpoint.ErrState)
	}
}

func TestPaceHolds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "film.bin", strings.Repeat("x", 300_000))
	u := startServer(t, dir, ServerOptions{Pace: Pace{Rate: 400_000, Burst: 250 * time.Millisecond}})
	for name, rt := range map[string]*http.Transport{"plain": {}, "checkpointed": NewTransport(u, TransportOptions{})} {
		start := time.Now()
		n, err := Fetch(context.Background(), rt, u.JoinPath("film.bin"), "", io.Discard, nil)
		rt.CloseIdleConnections()
		// 100 kB at once, 200 kB at 400 kB/s.
		if took := time.Since(start); err != nil || n != 300_000 || took < 450*time.Millisecond {
			t.Errorf("%s: %d bytes in %s, %v; want 0.5 s", name, n, took, err)
		}
	}
}

func TestParsePace(t *testing.T) {
	for text, want := range map[string]Pace{
		"off": {}, "": {}, "auto": {Auto: true}, "800k": {Rate: 100_000}, "4M": {Rate: 500_000}, "80": {Rate: 10},
	} {
		if got, err := ParsePace(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"fast", "-4M", "0", "4G", "NaN", "k"} {
		if got, err := ParsePace(text); err == nil {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}

func TestReadRequest(t *testing.T) {
	long := strings.Repeat("x", 5000)
	cases := []struct{ name, text, wantErr string }{
		{"good", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"bare newlines", "GET /a HTTP/1.1\nHost: x\n\n", ""},
		{"nothing", "", "EOF"},
		{"cut off", "GET /a HTTP/1.1\r\nHo", "unexpected EOF"},
		{"long line", "GET /" + long + " HTTP/1.1\r\n\r\n", "more than"},
		{"many lines", "GET / HTTP/1.1\r\n" + strings.Repeat("A: "+long[:3000]+"\r\n", 6) + "\r\n", "more than"},
		{"body", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "body"},
		{"no HTTP", "hello\r\n\r\n", "bad request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := bufio.NewReader(strings.NewReader(c.text + "rest"))
			if c.name == "nothing" || c.name == "cut off" {
				r = bufio.NewReader(strings.NewReader(c.text))
			}
			req, err := readRequest(r)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error %v, want one with %q", err, c.wantErr)
				}
				return
			}
			rest, _ := io.ReadAll(r)
			if err != nil || req.URL.Path != "/a" || string(rest) != "rest" {
				t.Errorf("%v, %v; rest %q", req, err, rest)
			}
		})
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n"))
	f.Add([]byte("GET http://x/ HTTP/1.0\r\nConnection: close\r\n\r\nmore"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(text), 4096)
		req, err := readRequest(r)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if !bytes.HasSuffix(text, rest) || len(rest) > len(text)-4 {
			t.Errorf("took another part of the input than a request: %q remains", rest)
		}
		p := planFile(req, &media{name: "a.ts", size: 100, modified: time.Unix(1, 0)})
		if p.start < 0 || p.size < 0 || p.start+p.size > 100 {
			t.Errorf("plans bytes %d to %d of 100", p.start, p.start+p.size)
		}
	})
}

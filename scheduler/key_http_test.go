// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/onevip/onevip/topology"
)

// What net/http accepts has the same path, host and header for both.
func FuzzKeyAgreesWithNetHTTP(f *testing.F) {
	for _, request := range readRequests(f) {
		f.Add([]byte(request))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(payload)))
		if err != nil || request.ProtoMajor != 1 || isBeyond(payload, request.Method) {
			return
		}
		path, host := pathAndHost(request)
		want := map[topology.LocalityKey]string{
			"path": path, "host+path": host, "header:x-user": orNone(request.Header.Get("X-User")),
		}
		for key, want := range want {
			_, got, why := find(key, string(payload))
			if why != Inspected {
				got = "!" + why.String()
			}
			if got != want {
				t.Fatalf("%s: %q, net/http says %q", key, got, want)
			}
		}
	})
}

// isBeyond tells of requests that Key does not take, or, where a value has several
// lines, takes the first of.
func isBeyond(payload []byte, method string) bool {
	return len(payload) > LookedAt || len(method) > maxMethod ||
		bytes.Contains(payload, []byte("\n ")) || bytes.Contains(payload, []byte("\n\t"))
}

func orNone(text string) string {
	if text == "" {
		return "!no_key"
	}
	return text
}

// pathAndHost are the keys path and host+path, as net/http reads the request.
func pathAndHost(r *http.Request) (path, hostPath string) {
	target := lower(r.RequestURI)
	switch {
	case r.Method == "CONNECT" || r.RequestURI == "*":
		return "!no_key", "!no_key"
	case strings.HasPrefix(target, "http://"), strings.HasPrefix(target, "https://"):
		_, rest, _ := strings.Cut(r.RequestURI, "://")
		return absoluteForm(rest)
	case target[0] != '/':
		return "!not_http", "!not_http"
	}
	path, _, _ = strings.Cut(r.RequestURI, "?")
	if r.Host == "" {
		return path, "!no_key"
	}
	return path, lower(r.Host) + path
}

// absoluteForm: Key leaves a user in the host, which net/http takes out.
func absoluteForm(rest string) (path, hostPath string) {
	end := strings.IndexAny(rest+"/", "/?")
	if end == 0 {
		return "!not_http", "!not_http"
	}
	path, _, _ = strings.Cut(rest[end:], "?")
	if path == "" {
		path = "/"
	}
	return path, lower(rest[:end]) + path
}

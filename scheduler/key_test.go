// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// keyCase is a line of testdata/keys.txt.
type keyCase struct {
	key     topology.LocalityKey
	payload string
	text    string
	why     Fallback
}

// find is Key for a key as it is written.
func find(key topology.LocalityKey, payload string) (uint64, string, Fallback) {
	kind, segments, name := key.Parse()
	return Key(kind, segments, name, []byte(payload))
}

func readKeyCases(t *testing.T) (cases []keyCase) {
	t.Helper()
	file, err := os.Open("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		cases = append(cases, parseKeyCase(t, line))
	}
	return cases
}

func parseKeyCase(t *testing.T, line string) keyCase {
	t.Helper()
	key, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	payload, _ := strconv.Unquote(quoted)
	sign, want, _ := strings.Cut(strings.TrimSpace(rest[len(quoted):]), " ")
	c := keyCase{key: topology.LocalityKey(key), payload: payload}
	switch sign {
	case "=":
		if c.text = want; want[0] == '"' {
			c.text, err = strconv.Unquote(want)
		}
	case "!":
		c.why = fallbackOf(want)
	}
	if err != nil || c.why == fallbackCount || (c.text == "") == (c.why == Inspected) {
		t.Fatalf("%s: wants neither a key nor a reason why not", line)
	}
	return c
}

func fallbackOf(name string) Fallback {
	for _, f := range Fallbacks() {
		if f.String() == name {
			return f
		}
	}
	return fallbackCount
}

func TestKey(t *testing.T) {
	for _, c := range readKeyCases(t) {
		_, text, why := find(c.key, c.payload)
		if text != c.text || why != c.why {
			t.Errorf("%s of %q: %q, %s; want %q, %s", c.key, c.payload, text, why, c.text, c.why)
		}
	}
}

// What programs really send, one request a file.
func TestKeyOfRealRequests(t *testing.T) {
	want := map[string][4]string{ // path, path-prefix:1, host+path, header:x-user
		"ab":            {"/dir00001/class1_3", "/dir00001", "10.77.0.1/dir00001/class1_3", "!no_key"},
		"ab-keepalive":  {"/", "/", "10.77.0.1:80/", "!no_key"},
		"chrome":        {"/Search/Results", "/Search", "www.example.com/Search/Results", "ann@example.com"},
		"curl":          {"/index.html", "/index.html", "www.example.com/index.html", "!no_key"},
		"curl-expect":   {"/upload/report.bin", "/upload", "files.example.com:8443/upload/report.bin", "!no_key"},
		"firefox":       {"/~user/photos/2026/", "/~user", "example.org/~user/photos/2026/", "!no_key"},
		"go-client":     {"/v1/objects/0f3c", "/v1", "store.example/v1/objects/0f3c", "robot"},
		"h2load-h1":     {"/assets/app.js", "/assets", "[2001:db8::1]:8080/assets/app.js", "!no_key"},
		"options":       {"!no_key", "!no_key", "!no_key", "probe"},
		"proxy":         {"/debian/dists/stable/InRelease", "/debian", "mirror.example.net:3142/debian/dists/stable/InRelease", "!no_key"},
		"websocket":     {"/chat", "/chat", "ws.example.com/chat", "!no_key"},
		"wrk":           {"/wiki/Single_IP_address", "/wiki", "10.77.0.1/wiki/Single_IP_address", "!no_key"},
		"wrk-pipelined": {"/plaintext", "/plaintext", "tfb.example/plaintext", "first"},
	}
	got := map[string][4]string{}
	for name, request := range readRequests(t) {
		var texts [4]string
		for i, key := range []topology.LocalityKey{"path", "path-prefix:1", "host+path", "header:x-user"} {
			_, text, why := find(key, request)
			if texts[i] = text; why != Inspected {
				texts[i] = "!" + why.String()
			}
		}
		got[name] = texts
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// readRequests gives each request its CRLFs.
func readRequests(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/requests/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	out := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".txt")] = strings.ReplaceAll(string(text), "\n", "\r\n")
	}
	return out
}

func TestKeyLooksAtSoMuch(t *testing.T) {
	long := strings.Repeat("a", LookedAt)
	tests := []struct {
		name, payload string
		key           topology.LocalityKey
		why           Fallback
	}{
		{"path up to the end", "GET /" + long[:LookedAt-6] + "?", "path", Inspected},
		{"path one longer", "GET /" + long[:LookedAt-5] + "?", "path", FallbackTooLong},
		{"path of which no end is there", "GET /" + long[:LookedAt-5], "path", FallbackShort},
		{"long query", "GET /a?" + long, "path", Inspected},
		{"long query before the host", "GET /a?" + long + " HTTP/1.1\r\nHost: d\r\n\r\n", "host+path", FallbackTooLong},
		{"long headers before the host", "GET /a HTTP/1.1\r\nX: " + long + "\r\nHost: d\r\n\r\n", "host+path", FallbackTooLong},
		{"long headers behind the host", "GET /a HTTP/1.1\r\nHost: d\r\nX: " + long + "\r\n\r\n", "host+path", Inspected},
		{"long value", "GET /a HTTP/1.1\r\nX-User: " + long + "\r\n\r\n", "header:x-user", FallbackTooLong},
		{"long first segment", "GET /" + long + "/b HTTP/1.1\r\n\r\n", "path-prefix:1", FallbackTooLong},
		{"long second segment", "GET /a/" + long + " HTTP/1.1\r\n\r\n", "path-prefix:1", Inspected},
	}
	for _, tt := range tests {
		if _, text, why := find(tt.key, tt.payload); why != tt.why || (text == "") == (why == Inspected) {
			t.Errorf("%s: %.20q, %s; want %s", tt.name, text, why, tt.why)
		}
	}
}

// What a part of a segment tells stays true of the whole.
func TestKeyOfAPart(t *testing.T) {
	requests := readRequests(t)
	rapid.Check(t, func(t *rapid.T) {
		whole := requests[rapid.SampledFrom(sortedNames(requests)).Draw(t, "request")]
		key := rapid.SampledFrom([]topology.LocalityKey{"path", "path-prefix:2", "host+path", "header:x-user"}).Draw(t, "key")
		part := whole[:rapid.IntRange(0, len(whole)).Draw(t, "length")]
		hash, text, why := find(key, part)
		if why == FallbackShort {
			return
		}
		wantHash, wantText, wantWhy := find(key, whole)
		if hash != wantHash || text != wantText || why != wantWhy {
			t.Fatalf("%s of %q: %q, %s; of all of it %q, %s", key, part, text, why, wantText, wantWhy)
		}
	})
}

// The eBPF computes the same numbers, and clusters that run them: they may never
// change.
func TestKeyHashIsFixed(t *testing.T) {
	for path, want := range goldenKeys {
		if got, _, _ := find("path", "GET "+path+" HTTP/1.1\r\n\r\n"); got != want {
			t.Errorf("hash of %s: %#x, want %#x", path, got, want)
		}
	}
}

func TestFallbackNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fallbacks() {
		if name := f.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("fallback %d is called %q", f, name)
		} else {
			seen[name] = true
		}
	}
	if name := fallbackCount.String(); name != "unknown" {
		t.Errorf("a fallback that is none is called %q", name)
	}
}

func sortedNames(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

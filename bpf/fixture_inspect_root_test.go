// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
	"github.com/onevip/onevip/topology"
)

// inspector is inspect() alone: a payload goes in, and what it says comes out.
type inspector struct {
	Program  *ebpf.Program `ebpf:"inspect_only"`
	Rules    *ebpf.Map     `ebpf:"rules"`
	Verdicts *ebpf.Map     `ebpf:"verdicts"`
	Samples  *ebpf.Map     `ebpf:"samples"`
}

func newInspector(t testing.TB) *inspector {
	t.Helper()
	needRoot(t)
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := loadInspect()
	if err != nil {
		t.Fatal(err)
	}
	var in inspector
	if err := spec.LoadAndAssign(&in, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{in.Program, in.Rules, in.Verdicts, in.Samples} {
			c.Close()
		}
	})
	return &in
}

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Fatalf(format string, args ...any)
}

// ask sets what the next payloads are looked at for.
func (in *inspector) ask(t fataler, key topology.LocalityKey) {
	kind, segments, name := key.Parse()
	rules := inspectOvRules{Key: uint32(kind), Segments: uint32(segments), NameLen: uint32(len(name))}
	copy(rules.Name[:], name)
	if err := in.Rules.Put(uint32(0), rules); err != nil {
		t.Fatalf("set rules: %v", err)
	}
}

// inspectFrame has the payload behind headers without options.
func inspectFrame(payload []byte) []byte {
	frame := make([]byte, 54, 54+len(payload))
	frame[12], frame[14], frame[46] = 8, 0x45, 5<<4 // IPv4, TCP's length
	return append(frame, payload...)
}

// agree asks the program and the oracle.
func (in *inspector) agree(t fataler, key topology.LocalityKey, payload []byte) scheduler.Fallback {
	in.ask(t, key)
	if _, err := in.Program.Run(&ebpf.RunOptions{Data: inspectFrame(payload)}); err != nil {
		t.Fatalf("run the program on %d bytes: %v", len(payload), err)
	}
	return in.compare(t, key, payload)
}

// compare has the program's last verdict beside what the oracle says.
func (in *inspector) compare(t fataler, key topology.LocalityKey, payload []byte) scheduler.Fallback {
	var got inspectVerdict
	if err := in.Verdicts.Lookup(uint32(0), &got); err != nil {
		t.Fatalf("read the verdict: %v", err)
	}
	kind, segments, name := key.Parse()
	hash, text, why := scheduler.Key(kind, segments, name, payload)
	if got.Hash != hash || scheduler.Fallback(got.Why) != why {
		t.Fatalf("%s of %q:\nprogram %#x, %s\noracle  %#x, %s, %q", key, payload, got.Hash, scheduler.Fallback(got.Why), hash, why, text)
	}
	return why
}

var allKeys = []topology.LocalityKey{
	"path", "path-prefix:1", "path-prefix:2", "path-prefix:16", "host+path", "tls-sni",
	"header:x-user", "header:host", "header:a", "header:user-agent-of-sixteen-letters-x2",
}

// The cases of the oracle's own test, its requests, and all parts of them.
func TestFixtureInspectKnownRequests(t *testing.T) {
	in := newInspector(t)
	for key, payloads := range readKeyCases(t) {
		for _, payload := range payloads {
			in.agree(t, key, payload)
		}
	}
	for _, request := range readRequests(t) {
		for _, key := range allKeys {
			for n := range len(request) {
				in.agree(t, key, request[:n+1])
			}
		}
	}
}

func readKeyCases(t *testing.T) map[topology.LocalityKey][][]byte {
	t.Helper()
	text, err := os.ReadFile("../scheduler/testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[topology.LocalityKey][][]byte{}
	for line := range strings.Lines(string(text)) {
		key, rest, _ := strings.Cut(line, " ")
		quoted, err := strconv.QuotedPrefix(strings.TrimSpace(rest))
		if err != nil {
			continue // a comment
		}
		payload, _ := strconv.Unquote(quoted)
		cases[topology.LocalityKey(key)] = append(cases[topology.LocalityKey(key)], []byte(payload))
	}
	if len(cases) < 5 {
		t.Fatalf("%d kinds of keys in the oracle's cases", len(cases))
	}
	return cases
}

func readRequests(t testing.TB) (requests [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../scheduler/testdata/requests/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	}
	return requests
}

// drawPieces are what requests are made of, and what spoils them.
var drawPieces = []string{
	"GET ", "POST ", "CONNECT ", "OPTIONS ", "PRI ", "/", "/a", "/abcdefg", "/abcdefghijklmnop", "*", "* ", "http://", "HTTPS://h",
	"?", "?q=1", "#", "%2F", " ", "  ", "\t", " HTTP/1.1\r\n", " HTTP/1.0\n", " HTTP/2.0\r\n", " HTTP/1.", "\r\n", "\n", "\r", "\x00", "\xff",
	"Host: ", "host:", "HOST:\t", "X-User: ", "x-user:", "A:", "User-Agent-Of-Sixteen-Letters-X2: v", ":", "Accept: */*\r\n", "example.COM", "Ann", "[Z@`{",
}

// drawRequest is a request with random changes, or made of pieces.
func drawRequest(t *rapid.T, requests [][]byte) []byte {
	var payload []byte
	if rapid.Bool().Draw(t, "real") {
		payload = bytes.Clone(rapid.SampledFrom(requests).Draw(t, "request"))
	} else {
		payload = []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(drawPieces), 1, 20).Draw(t, "pieces"), ""))
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		payload = drawChange(t, payload)
	}
	return payload
}

func drawChange(t *rapid.T, payload []byte) []byte {
	at := rapid.IntRange(0, len(payload)).Draw(t, "at")
	switch rapid.IntRange(0, 4).Draw(t, "change") {
	case 0:
		return payload[:max(at, 1)]
	case 1:
		piece := rapid.SampledFrom(drawPieces).Draw(t, "piece")
		return bytes.Join([][]byte{payload[:at], payload[at:]}, []byte(piece))
	case 2: // around the limit of what is looked at
		n := max(0, scheduler.LookedAt-len(payload)+rapid.IntRange(-20, 20).Draw(t, "beyond"))
		filler := bytes.Repeat([]byte{rapid.SampledFrom([]byte("a/ \n")).Draw(t, "filler")}, n)
		return bytes.Join([][]byte{payload[:at], payload[at:]}, filler)
	case 3:
		if at < len(payload) {
			payload[at] = rapid.Byte().Draw(t, "byte")
		}
	}
	return payload
}

func TestFixtureInspectRandomRequests(t *testing.T) {
	in := newInspector(t)
	requests := readRequests(t)
	seen := map[scheduler.Fallback]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			payload := drawRequest(t, requests)
			for _, key := range allKeys {
				seen[in.agree(t, key, payload)]++
			}
		}
	})
	t.Logf("seen: %v", seen)
	for _, why := range scheduler.Fallbacks() {
		if seen[why] == 0 && why != scheduler.FallbackSilent {
			t.Errorf("no request got to %s: the generator is too weak", why)
		}
	}
}

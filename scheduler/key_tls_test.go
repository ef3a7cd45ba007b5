// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// classical are the key exchanges whose ClientHello is small.
var classical = []tls.CurveID{tls.X25519, tls.CurveP256}

// helloOf gives the first record that crypto/tls sends.
func helloOf(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, cfg).Handshake()
		client.Close()
	}()
	record := make([]byte, recordHeader)
	if _, err := io.ReadFull(server, record); err != nil {
		t.Fatal(err)
	}
	record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
	if _, err := io.ReadFull(server, record[recordHeader:]); err != nil {
		t.Fatal(err)
	}
	return record
}

// readHellos are what a browser sent, at its first visit and later.
func readHellos(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/hellos/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hellos: %v", err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		if out[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// serverName is Key's text, or why there is none.
func serverName(payload []byte) string {
	_, text, why := Key(topology.KeySNI, 0, "", payload)
	if why != Inspected {
		return "!" + why.String()
	}
	return text
}

func TestKeyOfHellos(t *testing.T) {
	long := strings.Repeat("a123456789.", 22) + "example.com"
	tests := []struct {
		name string
		cfg  *tls.Config
		want string
	}{
		{"post-quantum", &tls.Config{ServerName: "Www.Example.COM"}, "www.example.com"},
		{"classical", &tls.Config{ServerName: "www.example.com", CurvePreferences: classical}, "www.example.com"},
		{"TLS 1.2", &tls.Config{ServerName: "www.example.com", MaxVersion: tls.VersionTLS12}, "www.example.com"},
		{"ALPN", &tls.Config{ServerName: "a", NextProtos: []string{"h2", "http/1.1"}}, "a"},
		{"long name", &tls.Config{ServerName: long}, long},
		{"no name", &tls.Config{InsecureSkipVerify: true}, "!no_key"},
		{"an address is no name", &tls.Config{ServerName: "192.0.2.1"}, "!no_key"},
	}
	for _, tt := range tests {
		if got := serverName(helloOf(t, tt.cfg)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A browser's hello is larger than a segment, and its extensions come in any order.
func TestKeyOfBrowserHellos(t *testing.T) {
	want := map[string][2]string{ // in a segment, and in two that were merged
		"chromium-156-name-first.bin":         {"www.example.com", "www.example.com"},
		"chromium-156-name-last.bin":          {"!short", "www2.shop.example.com"},
		"chromium-156-resumed-name-first.bin": {"www4.shop.example.com", "www4.shop.example.com"},
		"chromium-156-resumed-name-last.bin":  {"!short", "www5.shop.example.com"},
	}
	got := map[string][2]string{}
	for name, hello := range readHellos(t) {
		got[name] = [2]string{serverName(hello[:1460]), serverName(hello)}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// extension is one of a hello to be made.
type extension struct {
	kind uint16
	body []byte
}

func sized(size int, body []byte) []byte {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(body)))
	return append(n[4-size:], body...)
}

func nameExtension(name string) extension {
	return extension{0, sized(2, append([]byte{0}, sized(2, []byte(name))...))}
}

// makeHello is a record with nothing in it but what must be, and these extensions.
func makeHello(sessionID []byte, extensions ...extension) []byte {
	var list []byte
	for _, e := range extensions {
		list = binary.BigEndian.AppendUint16(list, e.kind)
		list = append(list, sized(2, e.body)...)
	}
	body := slices.Concat([]byte{3, 3}, make([]byte, 32), sized(1, sessionID), sized(2, []byte{0x13, 1}), sized(1, []byte{0}))
	return wrapHello(append(body, sized(2, list)...))
}

func wrapHello(body []byte) []byte {
	return append([]byte{22, 3, 1}, sized(2, append([]byte{1}, sized(3, body)...))...)
}

// patched is h with some bytes replaced.
func patched(h []byte, at int, with ...byte) []byte {
	return slices.Replace(slices.Clone(h), at, at+len(with), with...)
}

func TestKeyOfOddHellos(t *testing.T) {
	plain := makeHello(nil, nameExtension("a.example"))
	start := len(plain) - len("a.example") // of the name
	bare := makeHello(nil)
	tests := []struct {
		name  string
		hello []byte
		want  string
	}{
		{"plain", plain, "a.example"},
		{"something behind it", append(slices.Clone(plain), 1, 2, 3), "a.example"},
		{"behind others", makeHello(make([]byte, 32), extension{43, nil}, extension{10, make([]byte, 9)}, nameExtension("B"), extension{16, nil}), "b"},
		{"first of two", makeHello(nil, nameExtension("a"), nameExtension("b")), "a"},
		{"no extensions", bare[:len(bare)-2], "!short"},
		{"allowed to have none", wrapHello(bare[9 : len(bare)-2]), "!no_key"},
		{"an empty list", bare, "!no_key"},
		{"another one", makeHello(nil, extension{43, nil}), "!no_key"},
		{"empty name", makeHello(nil, nameExtension("")), "!no_key"},
		{"name of another type", patched(plain, start-3, 1), "!no_key"},
		{"empty extension", makeHello(nil, extension{0, nil}), "!not_tls"},
		{"name beyond the extension", patched(plain, start-2, 0, 10), "!not_tls"},
		{"extension beyond the list", patched(plain, start-7, 0, 15), "!not_tls"},
		{"list beyond the hello", patched(plain, start-11, 0, 19), "!not_tls"},
		{"list shorter than the hello", patched(plain, start-11, 0, 17), "!not_tls"},
		{"session id beyond the hello", patched(plain, sessionID, 255), "!not_tls"},
		{"hello beyond the record", patched(plain, 3, 0, 60), "!short"},
		{"header of an extension cut off", wrapHello(slices.Concat(bare[9:len(bare)-2], []byte{0, 3, 0, 0, 0})), "!not_tls"},
		{"not a hello", patched(plain, 5, 2), "!not_tls"},
		{"not a handshake", patched(plain, 0, 23), "!not_tls"},
	}
	for _, tt := range tests {
		if got := serverName(tt.hello); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func drawExtensions(t *rapid.T) []extension {
	extensions := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) extension {
		size := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(1000, 1300)).Draw(t, "size")
		return extension{rapid.Uint16Range(1, 100).Draw(t, "kind"), make([]byte, size)}
	}), 0, 8).Draw(t, "extensions")
	return rapid.Permutation(append(extensions, nameExtension("www.example.com"))).Draw(t, "order")
}

// Wherever the name stands, it is found if it is in the part that came, and only then.
func TestKeyOfHellosInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hello := makeHello(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, "session"), drawExtensions(t)...)
		part := hello[:rapid.IntRange(0, len(hello)).Draw(t, "length")]
		want := "www.example.com"
		if end := bytes.Index(hello, []byte(want)) + len(want); end > min(len(part), LookedAt) {
			want = "!short"
			if len(part) > LookedAt {
				want = "!too_long"
			}
		}
		if got := serverName(part); got != want {
			t.Fatalf("%q in %d bytes of %d, want %q", got, len(part), len(hello), want)
		}
	})
}

// heard is a connection on which one has said all it will, and does not listen.
type heard struct {
	net.Conn
	io.Reader
}

func (h heard) Read(b []byte) (int, error)  { return h.Reader.Read(b) }
func (h heard) Write(b []byte) (int, error) { return len(b), nil }
func (h heard) Close() error                { return nil }

// nameSeenByServer is what crypto/tls makes of a payload.
func nameSeenByServer(payload []byte) (name string, accepted bool) {
	cfg := tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, accepted = h.ServerName, true
		return nil, errors.New("seen")
	}}
	tls.Server(heard{Reader: bytes.NewReader(payload)}, &cfg).Handshake()
	return name, accepted
}

// What crypto/tls accepts has the same name for both. It ignores the record's version;
// all clients write a 3.
func FuzzKeyAgreesWithCryptoTLS(f *testing.F) {
	for _, hello := range readHellos(f) {
		f.Add(hello)
	}
	f.Add(helloOf(f, &tls.Config{ServerName: "www.example.com", CurvePreferences: classical}))
	f.Add(helloOf(f, &tls.Config{InsecureSkipVerify: true, CurvePreferences: classical}))
	f.Add(makeHello(nil, extension{43, []byte{2, 3, 4}}, nameExtension("Www.Example.com")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if got := serverName(payload); got == "" {
			t.Fatal("an empty key")
		}
		name, accepted := nameSeenByServer(payload)
		if !accepted || len(payload) > LookedAt || !isOneRecord(payload) || payload[1] != 3 {
			return
		}
		want := lower(name)
		if name == "" {
			want = "!no_key"
		}
		if got := serverName(payload); got != want {
			t.Fatalf("%q, crypto/tls says %q", got, want)
		}
	})
}

// isOneRecord tells whether the first record has all of the hello.
func isOneRecord(payload []byte) bool {
	return len(payload) > 9 && int(binary.BigEndian.Uint16(payload[3:])) >= 4+int(payload[6])<<16+int(binary.BigEndian.Uint16(payload[7:]))
}

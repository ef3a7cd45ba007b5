// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/scheduler"
)

// helloOf gives the first record that crypto/tls sends.
func helloOf(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, cfg).Handshake()
		client.Close()
	}()
	record := make([]byte, 5)
	if _, err := io.ReadFull(server, record); err != nil {
		t.Fatal(err)
	}
	record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
	if _, err := io.ReadFull(server, record[5:]); err != nil {
		t.Fatal(err)
	}
	return record
}

// someHellos are those of crypto/tls, with and without post-quantum key exchange, and
// of a browser.
func someHellos(t testing.TB) [][]byte {
	t.Helper()
	classical := []tls.CurveID{tls.X25519}
	hellos := [][]byte{
		helloOf(t, &tls.Config{ServerName: "Www.Example.COM"}),
		helloOf(t, &tls.Config{ServerName: "www.example.com", CurvePreferences: classical}),
		helloOf(t, &tls.Config{InsecureSkipVerify: true, CurvePreferences: classical}),
		helloOf(t, &tls.Config{ServerName: "a", MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}),
	}
	files, err := filepath.Glob("../scheduler/testdata/hellos/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hellos: %v", err)
	}
	for _, file := range files {
		hello, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		hellos = append(hellos, hello)
	}
	return hellos
}

// Hellos whole, and cut at every length.
func TestFixtureInspectHellos(t *testing.T) {
	in := newInspector(t)
	for i, hello := range someHellos(t) {
		for n := range len(hello) {
			in.agree(t, "tls-sni", hello[:n+1])
		}
		if why := in.agree(t, "tls-sni", append(bytes.Clone(hello), "more"...)); why != scheduler.Inspected && i != 2 {
			t.Errorf("hello %d: %s", i, why)
		}
		in.agree(t, "path", hello)
	}
}

// What a long segment has behind the part that is looked at.
func TestFixtureInspectLongHello(t *testing.T) {
	in := newInspector(t)
	hello := append(helloOf(t, &tls.Config{ServerName: "a"}), make([]byte, scheduler.LookedAt)...)
	copy(hello[3:], []byte{0xff, 0xff, 1, 0, 0xff, 0xff}) // the record, and what is in it
	copy(hello[44+32:], []byte{0xff, 0})                  // the cipher suites
	for _, n := range []int{1500, scheduler.LookedAt, scheduler.LookedAt + 1} {
		if why := in.agree(t, "tls-sni", hello[:n]); (why == scheduler.FallbackTooLong) != (n > scheduler.LookedAt) {
			t.Errorf("%d bytes: %s", n, why)
		}
	}
}

// Packets of which only the Ethernet header is in the buffer's linear part.
func TestFixtureInspectScattered(t *testing.T) {
	in, r := newInspector(t), newRig(t)
	for _, name := range []string{"t0", "t1"} {
		r.check(r.nl.LinkSetMTU(r.link(name), 9000))
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: int(r.ifindex), Program: in.Program, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	send := r.scatter(t)
	for _, payload := range append(readRequests(t), someHellos(t)...) {
		payload = append(payload, make([]byte, 6000)...) // more than a page, or it would not be scattered
		for _, key := range allKeys {
			in.ask(t, key)
			send(inspectFrame(payload)) // a veth pair delivers before this returns
			in.compare(t, key, payload)
		}
	}
}

// drawHello is a hello with random changes: most of them in lengths, which are small
// numbers or the highest byte of one.
func drawHello(t *rapid.T, hellos [][]byte) []byte {
	hello := bytes.Clone(rapid.SampledFrom(hellos).Draw(t, "hello"))
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		at := rapid.OneOf(rapid.IntRange(0, 250), rapid.IntRange(0, len(hello)-1)).Draw(t, "at")
		switch at %= len(hello); rapid.IntRange(0, 3).Draw(t, "change") {
		case 0:
			hello = hello[:at+1]
		case 1:
			hello[at] = rapid.ByteRange(0, 8).Draw(t, "byte")
		case 2:
			hello[at] = rapid.Byte().Draw(t, "any byte")
		case 3:
			hello = append(hello, make([]byte, rapid.IntRange(0, 1400).Draw(t, "more"))...)
		}
	}
	return hello[:min(len(hello), 3500)] // what a test run takes
}

func TestFixtureInspectRandomHellos(t *testing.T) {
	in := newInspector(t)
	hellos := someHellos(t)
	seen := map[scheduler.Fallback]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 50 {
			seen[in.agree(t, "tls-sni", drawHello(t, hellos))]++
		}
	})
	t.Logf("seen: %v", seen)
	for _, why := range []scheduler.Fallback{scheduler.Inspected, scheduler.FallbackShort, scheduler.FallbackNoKey, scheduler.FallbackNotTLS} {
		if seen[why] == 0 {
			t.Errorf("no hello got to %s: the generator is too weak", why)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package examples tests the example programs as their users run them.
package examples

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// program is a built example, with its keys and a free address.
type program struct{ bin, keys, addr string }

func build(t *testing.T, name string) program {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs: not in short mode")
	}
	dir := t.TempDir()
	p := program{bin: filepath.Join(dir, name), keys: filepath.Join(dir, "keys.json")}
	if out, err := exec.Command("go", "build", "-o", p.bin, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if _, err := checkpoint.RotateKeyFile(p.keys, 0); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	ln.Close()
	return p
}

// serve starts a server; the client's retries wait until it listens.
func (p program) serve(t *testing.T, more ...string) (kill func()) {
	t.Helper()
	cmd := exec.Command(p.bin, append([]string{"serve", p.addr, p.keys}, more...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	return kill
}

func (p program) client(t *testing.T, stdin io.Reader, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(p.bin, append([]string{p.addr}, args...)...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, &out
}

// crash kills servers, and starts others, a few times.
func (p program) crash(t *testing.T, kill func(), times int, more ...string) {
	for range times {
		<-time.After(300 * time.Millisecond) // of running, not a wait
		kill()
		kill = p.serve(t, more...)
	}
}

func TestCounter(t *testing.T) {
	p := build(t, "counter")
	kill := p.serve(t)
	client, out := p.client(t, nil)
	p.crash(t, kill, 3)
	if err := client.Wait(); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for n := range 100 {
		fmt.Fprintln(&want, n+1)
	}
	if out.String() != want.String() {
		t.Errorf("the client printed %q", out)
	}
}

func TestDownload(t *testing.T) {
	p := build(t, "download")
	folder := t.TempDir()
	content := bytes.Repeat([]byte("some bytes of a film "), 2_000_000)
	if err := os.WriteFile(filepath.Join(folder, "film"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	kill := p.serve(t, folder)
	client, out := p.client(t, nil, "film")
	kill() // whenever it hits
	p.serve(t, folder)
	if err := client.Wait(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), content) {
		t.Errorf("%d bytes came, want %d; or they differ", out.Len(), len(content))
	}
}

func TestChat(t *testing.T) {
	p := build(t, "chat")
	kill := p.serve(t)
	in, say := io.Pipe()
	client, out := p.client(t, in)
	fmt.Fprintln(say, "hello")
	p.crash(t, kill, 2)
	fmt.Fprintln(say, "still there?")
	say.Close()
	if err := client.Wait(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`line 1 is "hello\n"`,
		`line 2 is "still there?\n"`,
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "it is ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the client printed %q, want %q", got, want)
	}
}

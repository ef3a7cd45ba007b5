// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A lab is built, used and taken down, and nothing of it is left.
func TestLabLifeCycle(t *testing.T) {
	needRoot(t)
	name := instance(t)
	r := mustUp(t, "testdata/pair", name)
	ids := identities(t, r)

	if got := run(t, name, "a", "printenv", "GREETING"); got != "hello world\n" {
		t.Errorf("variable of the file: %q", got)
	}
	if got, want := run(t, name, "a", "printenv", "OWN"), filepath.Join(r.Folder, "server.sh")+"\n"; got != want {
		t.Errorf("variable with a path in the host: %q, want %q", got, want)
	}
	if got := run(t, name, "a", "cat", "/own/server.sh"); !strings.HasPrefix(got, "#!/bin/sh") {
		t.Errorf("a path in the host as an argument: %q", got)
	}
	large, err := os.ReadFile(filepath.Join(r.filesDir(), "large"))
	if err != nil || len(large) != 1_000_000 {
		t.Fatalf("lab file: %d bytes, error %v", len(large), err)
	}
	// A megabyte through the userspace datapath: a missing checksum would stall it.
	if got := run(t, name, "a", "curl", "-fsS", "--max-time", "10", "http://10.0.0.2/large"); got != string(large) {
		t.Errorf("through the switch come %d bytes, or others", len(got))
	}
	if got := run(t, name, "sw", "ovs-vsctl", "get", "bridge", "br0", "datapath_type"); got != "netdev\n" {
		t.Errorf("the switch's own Open vSwitch says %q", got)
	}
	if got := run(t, name, "sw", "ovs-appctl", "version"); !strings.Contains(got, "Open vSwitch") {
		t.Errorf("ovs-appctl says %q", got)
	}
	if got := run(t, name, "a", "cat", "/sys/class/net/eth0/mtu"); got == "" {
		t.Error("eth0 has no MTU")
	}
	if err := Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, name, ids)
	if err := Down(t.Context(), name); !errors.Is(err, ErrNotUp) {
		t.Errorf("the second Down: %v", err)
	}
}

func TestExecExitCodes(t *testing.T) {
	needRoot(t)
	name := instance(t)
	mustUp(t, "testdata/pair", name)
	tests := []struct {
		host string
		argv []string
		code int
		err  string
	}{
		{"a", []string{"true"}, 0, ""},
		{"a", []string{"sh", "-c", "exit 7"}, 7, ""},
		{"a", []string{"sh", "-c", "kill -KILL $$"}, 137, ""},
		{"a", []string{"no-such-program"}, 0, `host a: there is no program "no-such-program" in its PATH`},
		{"z", []string{"true"}, 0, "lab " + name + ` has no host "z"; write one of: a, b, sw`},
		{"a", nil, 0, "there is no command to run; write one behind --"},
	}
	for _, tt := range tests {
		code, err := Exec(t.Context(), name, tt.host, tt.argv, Stdio{})
		if code != tt.code || (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) {
			t.Errorf("%s %q: code %d, error %v, want %d, %s", tt.host, tt.argv, code, err, tt.code, tt.err)
		}
	}
	if _, err := Exec(t.Context(), "no-such-lab", "a", []string{"true"}, Stdio{}); !errors.Is(err, ErrNotUp) {
		t.Errorf("exec in a lab that is not up: %v", err)
	}
}

// Exec ends a command whose context ends.
func TestExecIsCancelled(t *testing.T) {
	needRoot(t)
	name := instance(t)
	mustUp(t, "testdata/pair", name)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	code, err := Exec(ctx, name, "a", []string{"sleep", "60"}, Stdio{})
	if err != nil || code != 128+int(syscall.SIGTERM) || time.Since(started) > 10*time.Second {
		t.Errorf("code %d, error %v after %s", code, err, time.Since(started))
	}
}

// Two labs with the same addresses do not meet; each goes down alone.
func TestLabsSideBySide(t *testing.T) {
	needRoot(t)
	one, two := instance(t), instance(t)
	mustUp(t, "testdata/pair", one)
	r := mustUp(t, "testdata/pair/topology.clab.yml", two)
	labs, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{one, two} {
		if !slices.ContainsFunc(labs, func(r *Running) bool { return r.Name == name && r.Ready }) {
			t.Errorf("lab %s is not listed", name)
		}
	}
	if err := Down(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, one, nil)
	if got := run(t, two, "a", "curl", "-fsS", "--max-time", "5", "http://10.0.0.2/small"); len(got) != 1000 {
		t.Errorf("the other lab gives %d bytes", len(got))
	}
	_, err = Up(t.Context(), Options{Lab: "testdata/pair", Instance: two})
	if !errors.Is(err, ErrAlreadyUp) || !strings.Contains(err.Error(), "onevip lab down "+two) {
		t.Errorf("up once more: %v", err)
	}
	if found, err := Find(two); err != nil || found.Folder != r.Folder {
		t.Errorf("Find gives %+v, error %v", found, err)
	}
}

func TestStatus(t *testing.T) {
	needRoot(t)
	name := instance(t)
	r := mustUp(t, "testdata/pair", name)
	states := func() string {
		report, err := Status(name)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, h := range report.Hosts {
			words = append(words, h.Name+" "+string(h.State))
		}
		return strings.Join(words, ", ")
	}
	if got, want := states(), "a idle, b running, sw running"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b, err := r.Host("b")
	if err != nil {
		t.Fatal(err)
	}
	b.Process.signal(syscall.SIGKILL)
	eventually(t, "the killed host has ended", func() bool { return states() == "a idle, b ended, sw running" })
}

// Whatever is killed, Down removes the rest: here the switch and the parent of
// a process that goes on.
func TestDownAfterKills(t *testing.T) {
	needRoot(t)
	name := instance(t)
	r := mustUp(t, "testdata/pair", name)
	ids := identities(t, r)
	for _, h := range r.Hosts {
		h.Process.signal(syscall.SIGKILL) // vswitchd's database server and nginx's worker stay
		eventually(t, h.Name+" is killed", func() bool { return !h.Process.Alive() })
	}
	pin := filepath.Join(pinRoot, name+"-a")
	if err := os.MkdirAll(filepath.Join(pin, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, name, ids)
}

// A process that ignores SIGTERM is killed.
func TestDownKillsTheStubborn(t *testing.T) {
	needRoot(t)
	name := instance(t)
	r := mustUp(t, "testdata/pair", name)
	ids := identities(t, r)
	ready := filepath.Join(r.Dir(), "ready")
	run(t, name, "a", "sh", "-c", `(trap "" TERM; touch "$0"; while :; do sleep 1; done) >/dev/null 2>&1 &`, ready)
	eventually(t, "the process ignores SIGTERM", func() bool { return exists(ready) })
	if err := Down(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, name, ids)
}

// Up leaves nothing when a step fails, and tells why.
func TestUpFailures(t *testing.T) {
	needRoot(t)
	t.Run("set-up", func(t *testing.T) {
		name := instance(t)
		_, err := Up(t.Context(), Options{Lab: "testdata/broken", Instance: name})
		const want = `host a: ["sh" "-c" "echo the reason; exit 3"]: exit status 3` + "\nthe reason"
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		checkNothingLeft(t, name, nil)
	})
	t.Run("a host gives up", func(t *testing.T) {
		name := instance(t)
		_, err := Up(t.Context(), Options{Lab: "testdata/dying", Instance: name})
		var notReady *NotReadyError
		if !errors.As(err, &notReady) {
			t.Fatalf("error %v, want a NotReadyError", err)
		}
		if len(notReady.Hosts) != 1 || notReady.Hosts[0] != (HostFailure{"a", "exit status 5", "no luck"}) {
			t.Errorf("hosts %+v", notReady.Hosts)
		}
		checkNothingLeft(t, name, nil)
	})
	t.Run("interrupted", func(t *testing.T) {
		name := instance(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for !exists(filepath.Join(netnsRoot, "ov-"+name+"-b")) && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, err := Up(ctx, Options{Lab: "testdata/silent", Instance: name}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		checkNothingLeft(t, name, nil)
	})
}

// Of two that build the same lab at once one succeeds, and the other one does
// it no harm.
func TestUpTwiceAtOnce(t *testing.T) {
	needRoot(t)
	name := instance(t)
	results := make(chan error)
	for range 2 {
		go func() {
			_, err := Up(t.Context(), Options{Lab: "testdata/pair", Instance: name})
			results <- err
		}()
	}
	first, second := <-results, <-results
	if first == nil {
		first, second = second, first
	}
	if second != nil || !(errors.Is(first, ErrBuilding) || errors.Is(first, ErrAlreadyUp)) {
		t.Errorf("results: %v, %v", first, second)
	}
	if got := run(t, name, "a", "curl", "-fsS", "--max-time", "5", "http://10.0.0.2/small"); len(got) != 1000 {
		t.Errorf("the lab gives %d bytes", len(got))
	}
}

// A builder that is killed leaves a lab that Down removes, and that another Up
// replaces. As long as it lives, nobody else touches the lab.
func TestKilledBuilder(t *testing.T) {
	needRoot(t)
	name := instance(t)
	builder := exec.Command(os.Args[0])
	builder.Env = append(os.Environ(), upEnv+"=testdata/silent "+name)
	if err := builder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = builder.Process.Kill(); _ = builder.Wait() })
	started := func() bool {
		r, err := read(name)
		return err == nil && slices.ContainsFunc(r.Hosts, func(h Host) bool { return h.Process.Alive() })
	}
	eventually(t, "the builder has started a host", started)
	if err := Down(t.Context(), name); !errors.Is(err, ErrBuilding) {
		t.Errorf("down while it is built: %v", err)
	}
	if _, err := Up(t.Context(), Options{Lab: "testdata/pair", Instance: name}); !errors.Is(err, ErrBuilding) {
		t.Errorf("up while it is built: %v", err)
	}
	r, err := read(name)
	if err != nil {
		t.Fatal(err)
	}
	ids := identities(t, r)
	if err := builder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = builder.Wait()
	mustUp(t, "testdata/pair", name)
	if left, err := processesIn(ids); err != nil || len(left) > 0 {
		t.Errorf("of the dead builder's lab are left: %v (error %v)", left, err)
	}
}

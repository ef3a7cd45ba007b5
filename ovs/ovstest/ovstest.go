// SPDX-License-Identifier: Apache-2.0

// Package ovstest gives tests a private Open vSwitch with hosts on it: real
// daemons in a network namespace of their own, real veth pairs. Everything is
// gone when the test ends. Tests only.
package ovstest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// Need skips the test where it can't run: without root, in short mode, or where
// Open vSwitch is not installed.
func Need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("short mode: no network namespaces")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian: apt install openvswitch-switch)", tool)
		}
	}
}

// WaitFor polls a condition until it holds; the test fails after 15 s.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Namespace is a named network namespace of one test.
type Namespace struct {
	Name   string
	handle netns.NsHandle
}

// newNamespace makes a namespace and registers its removal first.
func newNamespace(t testing.TB, role string) *Namespace {
	t.Helper()
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		t.Fatal(err)
	}
	ns := &Namespace{Name: "ovt-" + hex.EncodeToString(random[:]) + "-" + role}
	t.Cleanup(func() {
		_ = netns.DeleteNamed(ns.Name) // it may not have come to be
	})
	onThread(t, func() {
		handle, err := netns.NewNamed(ns.Name) // enters it, too
		if err != nil {
			t.Errorf("make namespace %s: %v", ns.Name, err)
		}
		ns.handle = handle
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { _ = ns.handle.Close() })
	return ns
}

// Do runs f in the namespace. Sockets and processes that f makes stay there.
func (ns *Namespace) Do(t testing.TB, f func()) {
	t.Helper()
	onThread(t, func() {
		if err := netns.Set(ns.handle); err != nil {
			t.Errorf("enter namespace %s: %v", ns.Name, err)
			return
		}
		f()
	})
}

// onThread runs f on a thread that is thrown away: it may change namespaces. If
// f ends the goroutine (t.FailNow), the test is marked failed and goes on.
func onThread(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f()
	}()
	<-done
}

// Run runs a command in the namespace, to its end, and gives what it prints.
func (ns *Namespace) Run(t testing.TB, command string, args ...string) (string, error) {
	t.Helper()
	full := append([]string{"--net=/run/netns/" + ns.Name, command}, args...)
	out, err := exec.CommandContext(t.Context(), "nsenter", full...).CombinedOutput()
	return string(out), err
}

// Must is Run for commands that must not fail.
func (ns *Namespace) Must(t testing.TB, command string, args ...string) string {
	t.Helper()
	out, err := ns.Run(t, command, args...)
	if err != nil {
		t.Fatalf("%s %v in %s: %v: %s", command, args, ns.Name, err, out)
	}
	return out
}

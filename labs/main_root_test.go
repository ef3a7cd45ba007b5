// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// upEnv makes the test binary build the lab that it names instead of testing,
// so that a test can kill a builder.
const upEnv = "ONEVIP_TEST_LAB_UP"

func TestMain(m *testing.M) {
	if lab, instance, ok := strings.Cut(os.Getenv(upEnv), " "); ok {
		if _, err := Up(context.Background(), Options{Lab: lab, Instance: instance, Progress: os.Stdout}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) >= 6 && slices.Equal(os.Args[1:3], DelayerWords) { // a lab's onevip is this binary
		fmt.Fprintln(os.Stderr, holdBack(os.Args[3:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// holdBack is what onevip lab delay does.
func holdBack(args []string) error {
	delay, err := time.ParseDuration(args[2])
	if err != nil || len(args) == 3 {
		return errors.Join(err, Delayer(context.Background(), args[0], args[1], delay))
	}
	twice, err := strconv.ParseFloat(args[3], 64)
	return errors.Join(err, Shuffler(context.Background(), args[0], args[1], delay, twice))
}

// needRoot skips where labs can't be built.
func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a lab; not in -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	for _, tool := range []string{"ovs-vswitchd", "nginx", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

// instance gives a name that no other test uses, and takes that lab down at the
// end, whatever happened to it.
func instance(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("t%08x", rand.Uint32())
	t.Cleanup(func() {
		if err := Down(context.Background(), name); err != nil && !errors.Is(err, ErrNotUp) {
			t.Errorf("clean up: %v", err)
		}
	})
	return name
}

func mustUp(t *testing.T, lab, name string) *Running {
	t.Helper()
	r, err := Up(t.Context(), Options{Lab: lab, Instance: name})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a command in a host that must succeed, and gives its output.
func run(t *testing.T, lab, host string, argv ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code, err := Exec(t.Context(), lab, host, argv, Stdio{Out: &out, Err: &errs})
	if err != nil || code != 0 {
		t.Fatalf("%s: %q: exit code %d, error %v\n%s", host, argv, code, err, errs.String())
	}
	return out.String()
}

// identities are those of the lab's namespaces, to look for their processes
// when the names are gone. They are held open: the kernel gives the identity of
// a namespace that is gone to the next one.
func identities(t *testing.T, r *Running) map[nsID]bool {
	t.Helper()
	ids, err := r.namespaces()
	if err != nil || len(ids) != len(r.Hosts) {
		t.Fatalf("%d namespaces for %d hosts, error %v", len(ids), len(r.Hosts), err)
	}
	for _, h := range r.Hosts {
		ns, err := os.Open(netnsPath(h.Namespace))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ns.Close() })
	}
	return ids
}

// checkNothingLeft looks for all that a lab leaves on a machine.
func checkNothingLeft(t *testing.T, name string, namespaces map[nsID]bool) {
	t.Helper()
	for _, pattern := range []string{
		filepath.Join(netnsRoot, "ov-"+name+"-*"), filepath.Join(runRoot, name), filepath.Join(dataRoot, name), filepath.Join(pinRoot, name+"-*"),
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("left: %v (error %v)", left, err)
		}
	}
	if left, err := processesIn(namespaces); err != nil || len(left) > 0 {
		t.Errorf("processes left: %v (error %v)", left, err)
	}
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

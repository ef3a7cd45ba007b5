// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"onevip": main})
}

// TestScripts runs testdata/script: what a user types, and what they get. They
// need no root. With ONEVIP_UPDATE=1 the wanted outputs are written anew.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: os.Getenv("ONEVIP_UPDATE") != "",
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "eventually": eventually},
		Setup:         setup,
	})
}

// setup gives a script ports of its own and the configuration that it brings:
// cluster.yaml, or cluster.yaml.in with those ports filled in.
func setup(env *testscript.Env) error {
	config := filepath.Join(env.WorkDir, "cluster.yaml")
	env.Setenv("ONEVIP_CONFIG", config)
	fill := []string{"WORK", env.WorkDir}
	for _, name := range []string{"ETCD_PORT", "OPENFLOW_PORT", "METRICS_PORT"} {
		port, err := freePort()
		if err != nil {
			return err
		}
		env.Setenv(name, port)
		fill = append(fill, name, port)
	}
	template, err := os.ReadFile(config + ".in")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(config, []byte(strings.NewReplacer(fill...).Replace(string(template))), 0o600)
}

// freePort names a port that nobody listens on just now.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}

// exits CODE COMMAND... runs a command that must end with that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if code := exitCodeOf(ts, args[1:]); code != want {
		ts.Fatalf("%v: exit code %d, want %d", args[1:], code, want)
	}
}

// eventually PATTERN COMMAND... runs a command until its stdout matches.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually pattern command...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	limit := time.Now().Add(30 * time.Second)
	for {
		exitCodeOf(ts, args[1:])
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(limit) {
			ts.Fatalf("%v: stdout never matched %s", args[1:], want)
		}
		time.Sleep(50 * time.Millisecond) // between two looks
	}
}

func exitCodeOf(ts *testscript.TestScript, command []string) int {
	err := ts.Exec(command[0], command[1:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

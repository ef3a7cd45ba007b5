// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// outageRate is the stream that runs through an outage: requests per second, a
// connection each.
const outageRate = 1000

// The controller is killed, with the etcd inside of it, and started again: no
// request of the stream fails, neither while it is away nor when it is back.
func TestControllerIsKilled(t *testing.T) {
	quickstart.use(t)
	stream := startStream(t, quickstart)
	kill(t, quickstart.controllerPID(t))
	eventually(t, patience, func() error { return quickstart.unreachable() })
	quickstart.startController(t)
	eventually(t, 2*patience, func() error { return quickstart.healthy() })
	stream.check(t)
}

// The same with an etcd of its own: the controller stays, etcd is killed, or stops
// where it is, and comes back.
func TestEtcdIsStopped(t *testing.T) {
	variant.use(t)
	for _, kind := range []string{"etcd-kill", "etcd-pause"} {
		t.Run(kind, func(t *testing.T) {
			stream := startStream(t, variant)
			variant.fault(t, "ctl", kind)
			eventually(t, patience, func() error { return variant.unreachable() })
			variant.heal(t, "ctl")
			eventually(t, 2*patience, func() error { return variant.healthy() })
			stream.check(t)
		})
	}
}

// stream is a stream of requests that goes on beside a test.
type stream struct {
	lab    *lab
	before losses
	run    *process
}

func startStream(t *testing.T, l *lab) stream {
	t.Helper()
	return startRate(t, l, outageRate)
}

// check ends the stream: all must have gone well.
func (s stream) check(t *testing.T) {
	t.Helper()
	var got tally
	if out := s.run.finish(t); json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("stream says %q", out)
	}
	since := s.lab.losses(t).since(s.before)
	if got.Failed > 0 && since.bySwitch > 0 && onlyTimeouts(got.Errors) {
		t.Skipf("the machine is too busy for this: %v, and %d requests timed out", since, got.Failed)
	}
	if got.Failed > 0 {
		t.Errorf("%d requests failed: %q", got.Failed, got.Errors)
	}
	if since.unexplained() {
		t.Errorf("%v; late answers at seconds %v", since, got.Late)
	}
	t.Logf("%v, slowest %v", got.Answers, got.Slowest.Round(time.Millisecond))
}

func (l *lab) controllerPID(t *testing.T) int {
	t.Helper()
	var status struct {
		Hosts []struct {
			Name string
			PID  int
		}
	}
	out, _, err := onevipCommand("lab", "status", l.name, "-o", "json")
	if err == nil {
		err = json.Unmarshal(out, &status)
	}
	if err != nil {
		t.Fatalf("lab status: %v", err)
	}
	for _, host := range status.Hosts {
		if host.Name == "ctl" && host.PID != 0 {
			return host.PID
		}
	}
	t.Fatalf("no controller in %+v", status)
	return 0
}

// kill ends a process as a crash would, and waits until it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Release() //nolint:errcheck // nothing to do about it
	if err := process.Kill(); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	eventually(t, patience, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("process %d lives", pid)
		}
		return nil
	})
}

// startForGood begins a command that lives as long as the lab.
func (l *lab) startForGood(t *testing.T, host string, argv ...string) {
	t.Helper()
	cmd := l.command(context.Background(), host, argv...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait() //nolint:errcheck // it ends with the lab
}

// startController starts the controller again.
func (l *lab) startController(t *testing.T) {
	t.Helper()
	l.startForGood(t, "ctl", "sh", "/common/controller.sh")
}

// fault does harm to a host. The test heals it, or its end does.
func (l *lab) fault(t *testing.T, host, kind string, flags ...string) {
	t.Helper()
	t.Cleanup(func() { onevipCommand("lab", "heal", "--all", "--lab", l.name) }) //nolint:errcheck // there may be nothing to heal
	if _, _, err := onevipCommand(append([]string{"lab", "fault", host, kind, "--lab", l.name}, flags...)...); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) heal(t *testing.T, host string) {
	t.Helper()
	if _, _, err := onevipCommand("lab", "heal", host, "--lab", l.name); err != nil {
		t.Fatal(err)
	}
}

var errStillThere = errors.New("etcd still answers")

// unreachable tells whether onevip status says that etcd is away.
func (l *lab) unreachable() error {
	switch code := l.statusCode(); code {
	case exitUnreachable:
		return nil
	case 0, exitUnhealthy:
		return errStillThere
	default:
		return fmt.Errorf("onevip status ends with code %d", code)
	}
}

func (l *lab) healthy() error {
	if code := l.statusCode(); code != 0 {
		return fmt.Errorf("onevip status ends with code %d", code)
	}
	return nil
}

// onlyTimeouts tells whether lost packets can be all the reason there is: they
// make a request late, but never reset or refused.
func onlyTimeouts(errors []string) bool {
	for _, e := range errors {
		if !strings.Contains(e, "timeout") {
			return false
		}
	}
	return len(errors) > 0
}

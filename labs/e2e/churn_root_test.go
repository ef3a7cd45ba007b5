// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A connection for each request, flat out for ten seconds: every one is adopted
// exactly once, none fails, and no node resets what is not its own. Then half
// of that rate, open loop: no SYN is sent twice.
func TestChurn(t *testing.T) {
	quickstart.use(t)
	for _, f := range families {
		var rate float64
		t.Run(f.name+"/flat out", func(t *testing.T) { rate = flatOut(t, f) })
		t.Run(f.name+"/half rate", func(t *testing.T) { halfRate(t, f, int(rate/2)) })
	}
}

func flatOut(t *testing.T, f family) (rate float64) {
	l := quickstart
	adopted := l.settledAdoptions(t)
	opened, resets := l.counters(t, "client")["TcpActiveOpens"], l.resets(t)

	done := l.wrk(t, f, "/1k", "10s", "32")
	if done.errors != "" {
		t.Errorf("wrk: %s", done.errors)
	}
	if resets = l.resets(t) - resets; resets > 0 {
		t.Errorf("the nodes sent %d resets", resets)
	}
	opened = l.counters(t, "client")["TcpActiveOpens"] - opened
	adopted = l.settledAdoptions(t) - adopted
	// At its end wrk gives up up to 32 connections that had hardly begun.
	if adopted < done.requests || adopted > opened {
		t.Errorf("%d connections were adopted, want %d (answered) to %d (begun)", adopted, done.requests, opened)
	}
	t.Logf("%.0f connections per second, slowest answer %.0f ms", done.rate, done.slowest)
	return done.rate
}

// halfRate opens connections by the clock, every ten milliseconds, whether or
// not the ones before are answered. The client is h2load, which leaves the
// machine to the cluster. Where the switch itself lost packets, because it had
// to wait for a CPU, the question is asked again.
func halfRate(t *testing.T, f family, rate int) {
	if rate == 0 {
		t.Skip("no rate was measured")
	}
	const tries = 3
	for try := 1; ; try++ {
		got := askAtRate(t, f, rate)
		switch {
		case got.resent == 0:
			return
		case got.bySwitch == 0:
			t.Fatalf("at %d per second: %v", rate, got)
		case try == tries:
			t.Skipf("at %d per second: %v, in each of %d tries: this machine is too busy to ask", rate, got, tries)
		}
		t.Logf("%v: once more", got)
	}
}

// askAtRate makes connections for five seconds.
func askAtRate(t *testing.T, f family, rate int) losses {
	l := quickstart
	count := strconv.Itoa(5 * rate)
	adopted := l.settledAdoptions(t)
	before := l.losses(t)
	out := l.run(t, "client", "h2load", "--h1", "-H", "Connection: close", "-n", count, "-c", count,
		"-r", strconv.Itoa(rate/100), "--rate-period", "10ms", f.url("/1k"))
	if !strings.Contains(out, count+" succeeded, 0 failed, 0 errored, 0 timeout") {
		t.Errorf("h2load:\n%s", out)
	}
	since := l.losses(t).since(before)
	if adopted = l.settledAdoptions(t) - adopted; strconv.Itoa(adopted) != count {
		t.Errorf("%s connections were made, %d were adopted", count, adopted)
	}
	t.Logf("%d per second; %s", rate, group(connectTime, out))
	return since
}

var connectTime = regexp.MustCompile(`(?m)^(time for connect:.*)$`)

// resets sums up the RSTs that the nodes' kernels sent.
func (l *lab) resets(t *testing.T) (sum int) {
	t.Helper()
	for _, node := range nodes {
		sum += l.counters(t, node)["TcpOutRsts"]
	}
	return sum
}

// reportTime is longer than an agent's record takes to the cluster's state.
const reportTime = 2 * time.Second

// settledAdoptions gives the adoptions so far, once all that is over has been
// reported: nothing is active, and nothing has changed for a while.
func (l *lab) settledAdoptions(t *testing.T) (adopted int) {
	t.Helper()
	since := time.Now()
	eventually(t, 3*patience, func() error {
		now, active := l.web(t)
		if now != adopted || active > 0 {
			adopted, since = now, time.Now()
		}
		if time.Since(since) < reportTime {
			return fmt.Errorf("%d adopted, %d active, still changing", now, active)
		}
		return nil
	})
	return adopted
}

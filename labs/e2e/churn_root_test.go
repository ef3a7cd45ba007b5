// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strconv"
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
	client, servers := l.counters(t, "client"), l.resets(t)

	done := l.wrk(t, f, "/1k", "10s", "32")
	if done.errors != "" {
		t.Errorf("wrk: %s", done.errors)
	}
	if resets := l.resets(t) - servers; resets > 0 {
		t.Errorf("the nodes sent %d resets", resets)
	}
	after := l.counters(t, "client")
	opened := after["TcpActiveOpens"] - client["TcpActiveOpens"] - (after["TcpAttemptFails"] - client["TcpAttemptFails"])
	eventually(t, patience, func() error {
		now, _ := l.web(t)
		if now-adopted != opened {
			return fmt.Errorf("%d connections were made, %d were adopted", opened, now-adopted)
		}
		return nil
	})
	t.Logf("%.0f connections per second, slowest answer %.0f ms", done.rate, done.slowest)
	return done.rate
}

func halfRate(t *testing.T, f family, rate int) {
	if rate == 0 {
		t.Skip("no rate was measured")
	}
	l := quickstart
	before := l.counters(t, "client")
	var got tally
	l.helper(t, &got, "rate", f.requests(5*rate, "-rate", strconv.Itoa(rate))...)
	if got.Failed > 0 {
		t.Errorf("%d of %d failed: %q", got.Failed, 5*rate, got.Errors)
	}
	if again := l.counters(t, "client")["TcpExtTCPSynRetrans"] - before["TcpExtTCPSynRetrans"]; again > 0 {
		t.Errorf("%d SYNs of %d were sent again at %d per second; slowest answer %v", again, 5*rate, rate, got.Slowest)
	}
	t.Logf("%d per second, slowest answer %v", rate, got.Slowest.Round(time.Millisecond))
}

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

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"regexp"
	"strconv"
	"testing"
	"time"
)

// wrkResult is what wrk says at its end.
type wrkResult struct {
	requests int
	rate     float64 // per second
	slowest  float64 // milliseconds
	errors   string  // wrk's line about errors; empty: none
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in`)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	wrkLatency  = regexp.MustCompile(`(?m)^\s*Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)\s`)
	wrkErrors   = regexp.MustCompile(`(?m)^\s*((?:Socket errors|Non-2xx).*)$`)
)

// wrk makes a connection for each request, flat out.
func (l *lab) wrk(t *testing.T, f family, path, duration, connections string) wrkResult {
	t.Helper()
	out := l.run(t, "client", "wrk", "-t1", "-c", connections, "-d", duration, "-H", "Connection: close", f.url(path))
	r, err := parseWrk(out)
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	return r
}

func parseWrk(out string) (r wrkResult, err error) {
	if r.requests, err = strconv.Atoi(group(wrkRequests, out)); err != nil {
		return r, err
	}
	if r.rate, err = strconv.ParseFloat(group(wrkRate, out), 64); err != nil {
		return r, err
	}
	m := wrkLatency.FindStringSubmatch(out + "\n")
	if m == nil {
		m = []string{"", "", ""}
	}
	slowest, err := time.ParseDuration(m[1] + m[2])
	if err != nil {
		return r, err
	}
	r.slowest = float64(slowest) / float64(time.Millisecond)
	r.errors = group(wrkErrors, out)
	return r, nil
}

// group gives the first group of the first match, or nothing.
func group(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

func TestParseWrk(t *testing.T) {
	const out = `Running 10s test @ http://10.77.0.1/1k
  1 threads and 20 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.35ms  819.14us  14.77ms   79.23%
    Req/Sec     7.05k   321.01     7.71k    74.00%
  70179 requests in 10.00s, 84.33MB read
  Socket errors: connect 0, read 3, write 0, timeout 0
Requests/sec:   7016.40
Transfer/sec:      8.43MB
`
	got, err := parseWrk(out)
	want := wrkResult{70179, 7016.40, 14.77, "Socket errors: connect 0, read 3, write 0, timeout 0"}
	if err != nil || got != want {
		t.Errorf("parseWrk: %+v, %v, want %+v", got, err, want)
	}
}

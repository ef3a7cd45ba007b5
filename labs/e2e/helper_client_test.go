// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// patience is longer than any answer may take, and shorter than a test.
const patience = 10 * time.Second

// tally is what a run of requests came to.
type tally struct {
	Answers map[string]int // by node
	Errors  []string       // the first few
	Failed  int
	Slowest time.Duration
	// Late are the times of day at which answers came that took longer than a
	// lost SYN takes at least, the first few.
	Late []string

	mu sync.Mutex
}

const (
	keptErrors = 5
	keptLate   = 20
	lateAfter  = 900 * time.Millisecond
)

func newTally() *tally { return &tally{Answers: map[string]int{}} }

func (t *tally) add(node string, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Slowest = max(t.Slowest, took)
	if took > lateAfter && len(t.Late) < keptLate {
		t.Late = append(t.Late, time.Now().Format("05.000"))
	}
	if err == nil {
		t.Answers[node]++
		return
	}
	t.Failed++
	if len(t.Errors) < keptErrors {
		t.Errors = append(t.Errors, err.Error())
	}
}

// dial connects from a client address of choice.
func dial(ctx context.Context, from netip.Addr, to string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return dialer.DialContext(ctx, "tcp", to)
}

// get asks once on a connection that may be used again.
func get(conn net.Conn, reader *bufio.Reader, path string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: vip\r\n\r\n", path); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return strings.TrimSpace(string(body)), nil
}

// getOnce is one request on a connection of its own.
func getOnce(ctx context.Context, a helperArgs, i int) (string, error) {
	conn, err := dial(ctx, a.source(i), a.vip)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return get(conn, bufio.NewReader(conn), a.pathOf(i))
}

// helpRequests makes count requests, so many at a time.
func helpRequests(ctx context.Context, a helperArgs) (any, error) {
	result := newTally()
	forEach(a.count, a.parallel, func(i int) {
		start := time.Now()
		node, err := getOnce(ctx, a, i)
		result.add(node, time.Since(start), err)
	})
	return result, nil
}

// helpRate begins requests at their appointed times, whether or not the ones
// before are answered: count of them, or, if that is 0, until stdin ends.
func helpRate(ctx context.Context, a helperArgs) (any, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if a.count == 0 {
		a.count = math.MaxInt
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	result := newTally()
	var pending sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(a.rate))
	defer tick.Stop()
	start := time.Now()
	for begun := 0; begun < a.count && ctx.Err() == nil; <-tick.C {
		// After a pause the client makes up for it at twice the rate, no faster:
		// a burst would ask another question.
		due := 1 + int(time.Since(start)*time.Duration(a.rate)/time.Second)
		for due = min(a.count, due, begun+2); begun < due; begun++ {
			pending.Go(func() {
				start := time.Now()
				node, err := getOnce(context.Background(), a, begun)
				result.add(node, time.Since(start), err)
			})
		}
	}
	pending.Wait()
	return result, nil
}

// forEach calls do for 0..n-1, so many at a time.
func forEach(n, parallel int, do func(i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}

// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// patience is longer than any answer may take; it bounds what a failure costs.
const patience = 15 * time.Second

// ReadyLine is what the load says on stderr once its streams are open.
const ReadyLine = "ready"

// askEvery is how often a talking stream asks something.
const askEvery = 50 * time.Millisecond

// Load is what clients do during one round.
type Load struct {
	VIP     netip.AddrPort
	From    netip.Addr    // first client address
	Froms   int           // so many of them, counted up
	Rate    int           // new connections per second, open loop
	For     time.Duration // so long
	Streams int           // long connections, every second of them silent
}

// Trace is what the clients saw. Times are of this machine's clock, which all
// hosts of a lab share.
type Trace struct {
	Connects []Connect `json:"connects"`
	Streams  []Stream  `json:"streams"`
}

// Connect is one connection of the open loop: connect, one request, close.
type Connect struct {
	At     time.Time     `json:"at"`               // when it began
	Took   time.Duration `json:"took"`             // until it was established, in ns
	Err    string        `json:"err,omitempty"`    // it was not
	Broken string        `json:"broken,omitempty"` // it was, but its request was not answered
}

// Stream is one long connection.
type Stream struct {
	Node    string    `json:"node"` // that answered its first request
	Talking bool      `json:"talking"`
	Ended   time.Time `json:"ended,omitzero"` // not by the client
	Err     string    `json:"err,omitempty"`
}

// Run makes the load. The streams are open before the first connection is due;
// ready is called then.
func (l Load) Run(ctx context.Context, ready func()) (Trace, error) {
	var trace Trace
	streams, err := l.openStreams(ctx)
	if err != nil {
		return trace, err
	}
	defer closeAll(streams)
	ready()
	trace.Connects = l.connect(ctx)
	for _, s := range streams {
		trace.Streams = append(trace.Streams, s.seen())
	}
	return trace, nil
}

// connect begins connections when they are due, whether or not earlier ones are
// done: a stalled cluster must not slow its clients down.
func (l Load) connect(ctx context.Context) []Connect {
	due := time.Now()
	connects := make([]Connect, int(l.For.Seconds()*float64(l.Rate)))
	var running sync.WaitGroup
	for i := range connects {
		select {
		case <-ctx.Done():
			running.Wait()
			return connects[:i]
		case <-time.After(time.Until(due)):
		}
		running.Go(func() { connects[i] = l.once(ctx, i) })
		due = due.Add(time.Second / time.Duration(l.Rate))
	}
	running.Wait()
	return connects
}

// once takes the time from where it begins: a client that has to wait for a CPU
// before that is no matter of the cluster.
func (l Load) once(ctx context.Context, i int) Connect {
	c := Connect{At: time.Now()}
	conn, err := l.dial(ctx, i)
	c.Took = time.Since(c.At)
	if err != nil {
		c.Err = err.Error()
		return c
	}
	defer conn.Close()
	if _, err := ask(conn, bufio.NewReader(conn)); err != nil {
		c.Broken = err.Error()
	}
	return c
}

func (l Load) dial(ctx context.Context, i int) (net.Conn, error) {
	from := l.From
	for range i % l.Froms {
		from = from.Next()
	}
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp", l.VIP.String())
}

// ask makes one request and gives the name of the node that answered.
func ask(conn net.Conn, r *bufio.Reader) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprint(conn, "GET /whoami HTTP/1.1\r\nHost: vip\r\n\r\n"); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /whoami: %s", response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

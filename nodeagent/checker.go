// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// checkers carry out health checks, one goroutine a service, through the local
// listener: VIP and port, over lo. They come from the VIP: where it is not on lo they
// fail. From another address they would leave the node, and be answered by another one's
// server; and when the VIP came to lo meanwhile, by a RST of our own (I5).
type checkers struct {
	check   func(context.Context, state.Service) string // checkService
	results chan<- event
	stop    context.CancelFunc // of those running now
	running sync.WaitGroup
}

// replace ends the checks under way and begins those of services.
func (c *checkers) replace(ctx context.Context, services []state.Service) {
	c.end()
	ctx, c.stop = context.WithCancel(ctx)
	for _, s := range services {
		if s.Health.Type == topology.HealthNone {
			continue
		}
		c.running.Go(func() { c.run(ctx, s) })
	}
}

// end ends the checks under way and waits for them.
func (c *checkers) end() {
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
}

func (c *checkers) run(ctx context.Context, s state.Service) {
	tick := time.NewTicker(max(time.Duration(s.Health.Interval), 10*time.Millisecond))
	defer tick.Stop()
	for {
		failure := c.check(ctx, s)
		select {
		case <-ctx.Done():
			return
		case c.results <- checkEnded{s.Name, s.Health, failure}:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkService looks at a service at each of its VIPs and says what is wrong
// with the first that fails, in words; empty: all is well. A node is picked for
// the service as a whole, so one dead VIP makes it unhealthy.
func checkService(ctx context.Context, s state.Service) string {
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(s.Health.Timeout), time.Millisecond))
	defer cancel()
	for _, vip := range s.VIPs {
		at := netip.AddrPortFrom(vip, s.Port)
		var err error
		if s.Health.Type == topology.HealthHTTP {
			err = checkHTTP(ctx, at, s.Health.Path)
		} else {
			err = checkTCP(ctx, at)
		}
		if err != nil {
			return failureWords(at, err, time.Duration(s.Health.Timeout))
		}
	}
	return ""
}

// failureWords names the place, and takes from a network error the part that
// says something.
func failureWords(at netip.AddrPort, err error, timeout time.Duration) string {
	var op *net.OpError
	switch {
	case errors.Is(err, errNotHere):
		return fmt.Sprintf("%s: %s", at, errNotHere)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s: no answer within %s", at, timeout)
	case errors.As(err, &op):
		return fmt.Sprintf("%s: %s", at, strings.TrimPrefix(op.Err.Error(), "connect: "))
	}
	return fmt.Sprintf("%s: %s", at, err)
}

// errNotHere is the failure of a check whose VIP is not on lo.
var errNotHere = errors.New("the address is not on this node")

// dialFromItself connects an address of this node to itself.
func dialFromItself(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 0))}
	conn, err := d.DialContext(ctx, network, address)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil, fmt.Errorf("%w: %w", errNotHere, err)
	}
	return conn, err
}

func checkTCP(ctx context.Context, at netip.AddrPort) error {
	conn, err := dialFromItself(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// maxBody bounds what is read of an answer before the connection is closed.
const maxBody = 64 << 10

// checkHTTP wants a status of 2xx or 3xx; redirections are not followed.
func checkHTTP(ctx context.Context, at netip.AddrPort, path string) error {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return fmt.Errorf("path %q: %w", path, err)
	}
	req.Header.Set("User-Agent", "onevip-health/1")
	resp, err := healthTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("GET %s: HTTP status %s", path, resp.Status)
	}
	_, err = io.CopyN(io.Discard, resp.Body, maxBody)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("GET %s: body: %w", path, err)
	}
	return nil
}

// healthTransport opens a connection for each check, and has no proxy.
var healthTransport = &http.Transport{DialContext: dialFromItself, DisableKeepAlives: true, MaxResponseHeaderBytes: maxBody}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"net"
	"time"
)

// raceConnect connects, and starts a second connect when the first takes
// longer than RaceDelay or fails: the first SYN may have gone to a server that
// is dead and not yet known as such (in the manner of RFC 8305). The faster one
// is returned, the other closed.
func (s *Stream) raceConnect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ConnectTimeout)
	defer cancel() // ends the loser
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	run := func() {
		conn, err := s.opts.Connect(ctx)
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	}
	go run()
	second := time.NewTimer(s.opts.RaceDelay)
	defer second.Stop()
	running, started := 1, 1
	for {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			if running == 0 {
				return nil, r.err
			}
		case <-second.C:
			if started == 1 {
				started, running = 2, running+1
				go run()
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// askEvery is how often a talking stream asks.
const askEvery = 100 * time.Millisecond

// streamSeen is what became of one long connection.
type streamSeen struct {
	Node    string
	Talking bool
	Ended   time.Time // zero: it lives
	Err     string
}

// helpStreams holds count connections, says so, and tells at each line of stdin,
// and at its end, which of them have ended meanwhile. Every second one asks again
// and again, and the same node must answer; the others say nothing.
func helpStreams(ctx context.Context, a helperArgs) (any, error) {
	conns := holdMany(ctx, a)
	for _, h := range conns {
		if h.err != nil {
			return nil, h.err
		}
	}
	var mu sync.Mutex
	over := false
	seen := make([]streamSeen, len(conns))
	for i, h := range conns {
		seen[i] = streamSeen{Node: h.node, Talking: i%2 == 0}
		go func() {
			err := h.follow(i%2 == 0)
			mu.Lock()
			defer mu.Unlock()
			if !over {
				seen[i].Ended, seen[i].Err = time.Now(), err.Error()
			}
		}()
	}
	fmt.Println("open")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		mu.Lock()
		err := json.NewEncoder(os.Stdout).Encode(seen)
		mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	mu.Lock()
	defer mu.Unlock()
	over = true
	return seen, nil
}

// follow stays with a connection to its end.
func (h held) follow(talking bool) error {
	if !talking {
		if err := h.conn.SetDeadline(time.Time{}); err != nil {
			return err
		}
		_, err := h.reader.ReadByte()
		if err == nil {
			err = fmt.Errorf("%s said something unasked", h.node)
		}
		return err
	}
	for {
		node, err := get(h.conn, h.reader, h.path)
		if err == nil && node != h.node {
			err = fmt.Errorf("%s answered, then %s", h.node, node)
		}
		if err != nil {
			return err
		}
		time.Sleep(askEvery)
	}
}

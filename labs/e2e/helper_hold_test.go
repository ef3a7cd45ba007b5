// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// held is a connection that asked once and stays open.
type held struct {
	conn   net.Conn
	reader *bufio.Reader
	path   string
	node   string
	err    error
}

func hold(ctx context.Context, a helperArgs, i int) (h held) {
	if h.conn, h.err = dial(ctx, a.source(i), a.vip); h.err != nil {
		return h
	}
	h.reader = bufio.NewReader(h.conn)
	h.path = a.pathOf(i)
	h.node, h.err = get(h.conn, h.reader, h.path)
	return h
}

func holdMany(ctx context.Context, a helperArgs) []held {
	conns := make([]held, a.count)
	forEach(a.count, a.parallel, func(i int) { conns[i] = hold(ctx, a, i) })
	return conns
}

// helpHold opens count connections, says so, waits until stdin ends, and asks
// once more on each: the same node must answer.
func helpHold(ctx context.Context, a helperArgs) (any, error) {
	conns := holdMany(ctx, a)
	opened := newTally()
	for _, h := range conns {
		opened.add(h.node, 0, h.err)
	}
	if opened.Failed > 0 {
		return opened, nil
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return nil, err
	}
	again := newTally()
	forEach(len(conns), a.parallel, func(i int) {
		h := conns[i]
		start := time.Now()
		node, err := get(h.conn, h.reader, h.path)
		if err == nil && node != h.node {
			err = fmt.Errorf("%s answered, then %s", h.node, node)
		}
		again.add(node, time.Since(start), err)
		h.conn.Close()
	})
	return again, nil
}

// helpLopsided leaves one node alone with count long downloads: it begins
// downloads until that node must have as many, and gives up those of the
// others. It says which node it is, and ends when stdin does.
func helpLopsided(ctx context.Context, a helperArgs) (any, error) {
	byNode := map[string][]held{}
	full := ""
	for i := 0; full == "" && i < 100*a.count; i++ {
		h := hold(ctx, a, i)
		if h.err != nil {
			return nil, h.err
		}
		if err := startDownload(h.conn); err != nil {
			return nil, err
		}
		byNode[h.node] = append(byNode[h.node], h)
		if len(byNode[h.node]) == a.count {
			full = h.node
		}
	}
	for node, conns := range byNode {
		for _, h := range conns {
			if node != full {
				h.conn.Close()
			}
		}
	}
	fmt.Println(full)
	_, err := io.Copy(io.Discard, os.Stdin)
	return nil, err
}

// startDownload asks for 1 GiB and does not read it: the window fills, the
// connection stays.
func startDownload(conn net.Conn) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	_, err := fmt.Fprint(conn, "GET /1g HTTP/1.1\r\nHost: vip\r\n\r\n")
	return err
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// helpSilent opens count connections, says so, and says nothing on them until
// stdin ends. Then it asks on each.
func helpSilent(ctx context.Context, a helperArgs) (any, error) {
	conns := make([]net.Conn, a.count)
	for i := range conns {
		var err error
		if conns[i], err = dial(ctx, a.source(i), a.vip); err != nil {
			return nil, err
		}
		defer conns[i].Close()
	}
	fmt.Println("open")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return nil, err
	}
	result := newTally()
	forEach(a.count, a.parallel, func(i int) {
		start := time.Now()
		node, err := get(conns[i], bufio.NewReader(conns[i]), a.pathOf(i))
		result.add(node, time.Since(start), err)
	})
	return result, nil
}

// helpClosed opens count connections, says nothing, and tells when each was closed
// by the other side, and how.
func helpClosed(ctx context.Context, a helperArgs) (any, error) {
	result := newTally()
	forEach(a.count, a.count, func(i int) {
		start := time.Now()
		how, err := awaitClose(ctx, a, i)
		result.add(how, time.Since(start), err)
	})
	return result, nil
}

func awaitClose(ctx context.Context, a helperArgs, i int) (how string, err error) {
	conn, err := dial(ctx, a.source(i), a.vip)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	_, err = conn.Read(make([]byte, 1))
	if errors.Is(err, syscall.ECONNRESET) {
		return "reset", nil
	}
	return "", fmt.Errorf("not reset: %w", err)
}

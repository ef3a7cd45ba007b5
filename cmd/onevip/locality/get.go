// SPDX-License-Identifier: Apache-2.0

package locality

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/onevip/onevip/labs/origin"
)

// window is a client's receive buffer: little, as behind a slow line, so that a
// server can't be far ahead of it.
const window = 16 << 10

// The headers by which a server of the lab says who it is, and whether it had the
// file in its cache.
const (
	nodeHeader  = "X-Node"
	cacheHeader = "X-Cache" // an origin.Outcome
)

// answer is a response whose first byte has come.
type answer struct {
	*http.Response
	conn net.Conn
}

func (a answer) node() string { return a.Header.Get(nodeHeader) }
func (a answer) hit() bool    { return a.Header.Get(cacheHeader) == string(origin.Hit) }

func (a answer) close() {
	_ = a.Body.Close() // the connection is not used again
	_ = a.conn.Close()
}

// get asks for a path on a connection of its own, which ends with ctx.
func get(ctx context.Context, from netip.Addr, vip netip.AddrPort, path string) (answer, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Control: narrow}
	conn, err := d.DialContext(ctx, "tcp", vip.String())
	if err != nil {
		return answer{}, err
	}
	response, err := request(ctx, conn, path)
	if err != nil {
		_ = conn.Close()
		return answer{}, err
	}
	return answer{response, conn}, nil
}

func request(ctx context.Context, conn net.Conn, path string) (*http.Response, error) {
	if end, limited := ctx.Deadline(); limited {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n", path); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return response, err
}

// narrow makes the receive buffer small before the handshake tells of it.
func narrow(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window)
	})
	if err != nil {
		return err
	}
	return failed
}

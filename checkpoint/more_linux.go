// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"net"
	"syscall"
)

// writeMore writes b to a TCP connection and tells the kernel that more
// follows at once, so that a header does not become a segment of its own.
func writeMore(conn net.Conn, b []byte) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = raw.Write(func(fd uintptr) bool {
		var n int
		n, werr = syscall.SendmsgN(int(fd), b, nil, nil, syscall.MSG_MORE|syscall.MSG_NOSIGNAL)
		if werr == syscall.EINTR {
			return false
		}
		if werr == syscall.EAGAIN {
			werr = nil
			return false
		}
		b = b[max(n, 0):]
		return werr != nil || len(b) == 0
	})
	if err != nil {
		return err
	}
	return werr
}

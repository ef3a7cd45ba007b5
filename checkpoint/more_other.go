// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package checkpoint

import "net"

// writeMore writes b. Only Linux can be told that more follows.
func writeMore(conn net.Conn, b []byte) error {
	_, err := conn.Write(b)
	return err
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	sockDestroy = 21 // SOCK_DESTROY, linux/sock_diag.h
	// destroyRounds bounds how often it is looked again for what is left.
	destroyRounds = 10
	// connStates are all but listeners and what is closed.
	connStates = 0xfff &^ (1<<tcpListen | 1<<tcpClose)
)

// destroyConns aborts every TCP connection of the addresses in the calling
// thread's network namespace, TIME_WAIT too, and looks again until none is left.
// Listeners stay, and connections of the node to itself, such as health checks.
// The programs must be quiet already, or new connections come to be meanwhile.
func destroyConns(vips []netip.Addr) (destroyed int, err error) {
	socket, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open a socket for sock_diag: %w", err)
	}
	defer socket.Close()
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: socket}}
	for range destroyRounds {
		left, err := connsAt(vips)
		if err != nil || len(left) == 0 {
			return destroyed, err
		}
		for _, s := range left {
			if err := s.destroy(sockets); err != nil {
				return destroyed, err
			}
		}
		destroyed += len(left)
	}
	return destroyed, fmt.Errorf("connections of the VIPs are still there after %d rounds of SOCK_DESTROY", destroyRounds)
}

// connsAt lists the connections of addresses.
func connsAt(vips []netip.Addr) (out []diagSocket, err error) {
	err = dumpSockets(diagQuery{states: connStates}, func(s diagSocket) {
		if slices.Contains(vips, s.local.Addr()) && s.local.Addr() != s.remote.Addr() {
			out = append(out, s)
		}
	})
	return out, err
}

// destroy aborts the connection. That it is gone by now is no error.
func (s diagSocket) destroy(sockets map[int]*nl.SocketHandle) error {
	req := nl.NewNetlinkRequest(sockDestroy, unix.NLM_F_ACK)
	req.Sockets = sockets
	req.AddRawData(s.request())
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("SOCK_DESTROY: %w: the kernel needs CONFIG_INET_DIAG_DESTROY", err)
	case err != nil:
		return fmt.Errorf("SOCK_DESTROY of %s from %s: %w", s.local, s.remote, err)
	}
	return nil
}

// request is struct inet_diag_req_v2 that names this one socket.
func (s diagSocket) request() []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = s.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 1<<s.state)
	copy(b[8:], s.id[:])
	return b
}

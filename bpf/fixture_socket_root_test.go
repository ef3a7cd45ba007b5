// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// connection is one over lo, so that the rig's kernel has the server's socket.
type connection struct {
	client, server *net.TCPConn
}

// connect makes a connection from the family's client to the web service.
func (r *rig) connect(t testing.TB, f family) *connection {
	t.Helper()
	l := r.listen(t, f.to(webPort))
	c := &connection{client: r.dial(t, f.from(), f.to(webPort))}
	server, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	c.server = server
	return c
}

func (r *rig) dial(t testing.TB, from, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Queues of TCP_REPAIR (linux/tcp.h).
const (
	recvQueue = 1
	sendQueue = 2
	repairOff = -1 // without a window probe
)

// sequence asks the kernel for a connection's next sequence number: of what it
// will receive, or send.
func sequence(t testing.TB, conn *net.TCPConn, queue int) uint32 {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var seq int
	ask := func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_REPAIR, 1); err != nil {
			return
		}
		if err = unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_REPAIR_QUEUE, queue); err == nil {
			seq, err = unix.GetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_QUEUE_SEQ)
		}
		if off := unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_REPAIR, repairOff); err == nil {
			err = off
		}
	}
	if e := raw.Control(ask); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatalf("ask the kernel for a sequence number (TCP_REPAIR): %v", err)
	}
	return uint32(seq)
}

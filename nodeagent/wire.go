// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// wire carries heartbeats: rawWire, or memoryWire in tests.
type wire interface {
	// broadcast sends one payload to all.
	broadcast(payload []byte) error
	// receive hands payloads to take, which may keep them, until ctx ends (nil)
	// or the wire is lost for good.
	receive(ctx context.Context, take func(payload []byte)) error
	close() error
}

// rawWire sends and receives Ethernet frames on one interface. The kernel
// writes and strips their header; VLAN tags are the interface's.
type rawWire struct {
	conn *packet.Conn
	mtu  int
}

var broadcastAddr = &packet.Addr{HardwareAddr: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}

// listenWire opens the interface in the calling thread's network namespace.
func listenWire(iface *net.Interface) (*rawWire, error) {
	conn, err := packet.Listen(iface, packet.Datagram, heartbeatEtherType, nil)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on %s: %w", iface.Name, err)
	}
	return &rawWire{conn: conn, mtu: iface.MTU}, nil
}

func (w *rawWire) broadcast(payload []byte) error {
	if _, err := w.conn.WriteTo(payload, broadcastAddr); err != nil {
		return fmt.Errorf("send a heartbeat: %w", err)
	}
	return nil
}

func (w *rawWire) receive(ctx context.Context, take func([]byte)) error {
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxFrame+1) // one more, so that a longer frame shows
	for {
		n, _, err := w.conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once each time the interface goes down
		}
		if err != nil {
			return fmt.Errorf("receive heartbeats: %w", err)
		}
		take(append([]byte(nil), buf[:n]...))
	}
}

func (w *rawWire) close() error { return w.conn.Close() }

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// wire carries heartbeats and questions, and frames that others should have
// sent: rawWire, or memoryWire in tests. Its methods may be called concurrently.
type wire interface {
	// broadcast sends one heartbeat's payload to all.
	broadcast(payload []byte) error
	// send sends one whole Ethernet frame.
	send(frame []byte) error
	// route sends one IP packet, header included, the way that the kernel knows.
	route(packet []byte, to netip.Addr) error
	// receive hands the frames of the heartbeats' EtherType to take, which may
	// keep them, until ctx ends (nil) or the wire is lost for good.
	receive(ctx context.Context, take func(frame []byte)) error
	close() error
}

// headerSize is that of an Ethernet frame's header.
const headerSize = 14

// rawWire sends and receives Ethernet frames on one interface; VLAN tags are the
// interface's.
type rawWire struct {
	*router
	in, out *packet.Conn // out is bound to no EtherType: nothing comes in by it
	from    net.HardwareAddr
	mtu     int
}

var everybody = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// listenWire opens the interface in the calling thread's network namespace.
func listenWire(iface *net.Interface) (*rawWire, error) {
	in, err := packet.Listen(iface, packet.Raw, heartbeatEtherType, nil)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on %s: %w", iface.Name, err)
	}
	out, err := packet.Listen(iface, packet.Raw, 0, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a packet socket on %s: %w", iface.Name, err), in.Close())
	}
	router, err := openRouter()
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return &rawWire{router: router, in: in, out: out, from: iface.HardwareAddr, mtu: iface.MTU}, nil
}

func (w *rawWire) broadcast(payload []byte) error {
	return w.send(frameOf(everybody, w.from, payload))
}

// frameOf puts the header of the heartbeats' EtherType before a payload.
func frameOf(to, from net.HardwareAddr, payload []byte) []byte {
	frame := make([]byte, 0, headerSize+len(payload))
	frame = append(append(frame, to...), from...)
	return append(binary.BigEndian.AppendUint16(frame, heartbeatEtherType), payload...)
}

func (w *rawWire) send(frame []byte) error {
	to := &packet.Addr{HardwareAddr: everybody} // the kernel goes by the frame's own
	if _, err := w.out.WriteTo(frame, to); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

func (w *rawWire) receive(ctx context.Context, take func([]byte)) error {
	stop := context.AfterFunc(ctx, func() { _ = w.in.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, headerSize+maxFrame+1) // one more, so that a longer frame shows
	for {
		n, _, err := w.in.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once each time the interface goes down
		}
		if err != nil {
			return fmt.Errorf("receive heartbeats: %w", err)
		}
		if n >= headerSize {
			take(append([]byte(nil), buf[:n]...))
		}
	}
}

func (w *rawWire) close() error { return errors.Join(w.in.Close(), w.out.Close(), w.router.close()) }

// SPDX-License-Identifier: Apache-2.0

package ovstest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/mdlayher/packet"
)

// Host is a network namespace whose eth0 is a port of a switch.
type Host struct {
	*Namespace
	// Port is the name of the port, in the switch's namespace.
	Port string
	MAC  net.HardwareAddr
}

// Host makes a host; its port is in the switch's namespace, on no bridge yet.
// The MAC is 02:00:00:00:00:NUMBER. Transmit offload is off: across the
// userspace datapath packets would keep partial checksums.
func (s *Switch) Host(t testing.TB, name string, number uint8, addresses ...string) *Host {
	t.Helper()
	h := &Host{
		Namespace: newNamespace(t, name), Port: name,
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, number},
	}
	s.Must(t, "ip", "link", "add", h.Port, "type", "veth", "peer", "name", "eth0",
		"address", h.MAC.String(), "netns", h.Name)
	s.Must(t, "ip", "link", "set", h.Port, "up")
	h.Must(t, "ip", "link", "set", "lo", "up")
	h.Must(t, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.router_solicitations=0")
	for _, address := range addresses {
		h.Must(t, "ip", "address", "add", address, "dev", "eth0")
	}
	h.Must(t, "ethtool", "-K", "eth0", "tx", "off")
	h.Must(t, "ip", "link", "set", "eth0", "up")
	return h
}

// Tap is a packet socket on a host's eth0.
type Tap struct {
	conn *packet.Conn
	mac  net.HardwareAddr
}

// allProtocols is ETH_P_ALL.
const allProtocols = 3

// Tap opens a packet socket that sees and sends whole frames, also those that
// are not for the host.
func (h *Host) Tap(t testing.TB) *Tap {
	t.Helper()
	var conn *packet.Conn
	var err error
	h.Do(t, func() {
		var eth0 *net.Interface
		if eth0, err = net.InterfaceByName("eth0"); err == nil {
			conn, err = packet.Listen(eth0, packet.Raw, allProtocols, nil)
		}
		if err == nil {
			err = conn.SetPromiscuous(true)
		}
	})
	if err != nil {
		t.Fatalf("open packet socket on %s: %v", h.Name, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &Tap{conn: conn, mac: h.MAC}
}

// Send sends a frame as it is.
func (tap *Tap) Send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := tap.conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		t.Fatal(err)
	}
}

// Next gives the next frame that satisfies the condition, or an error after the
// time given.
func (tap *Tap) Next(within time.Duration, condition func(frame []byte) bool) ([]byte, error) {
	if err := tap.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := tap.conn.ReadFrom(buffer)
		if err != nil {
			return nil, fmt.Errorf("no such frame within %v: %w", within, err)
		}
		if frame := buffer[:n]; condition(frame) {
			return append([]byte(nil), frame...), nil
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// router sends IP packets the way that the kernel knows, by a raw socket for each IP
// version. What comes in by them is none of its business: nothing has the protocol
// that they are for.
type router struct{ v4, v6 int }

// openRouter opens them in the calling thread's network namespace. A kernel without
// IPv6 has no clients that would need it.
func openRouter() (*router, error) {
	v4, err := rawSocket(unix.AF_INET)
	if err != nil {
		return nil, err
	}
	v6, err := rawSocket(unix.AF_INET6)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return &router{v4, -1}, nil
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(v4))
	}
	return &router{v4, v6}, nil
}

func rawSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, fmt.Errorf("open a raw socket: %w", err)
	}
	return fd, nil
}

func (r *router) route(packet []byte, to netip.Addr) error {
	var err error
	if to.Is4() {
		err = unix.Sendto(r.v4, packet, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to.As4()})
	} else {
		err = unix.Sendto(r.v6, packet, unix.MSG_DONTWAIT, &unix.SockaddrInet6{Addr: to.As16()})
	}
	if err != nil {
		return fmt.Errorf("send a packet to %s: %w", to, err)
	}
	return nil
}

func (r *router) close() error {
	err := unix.Close(r.v4)
	if r.v6 >= 0 {
		err = errors.Join(err, unix.Close(r.v6))
	}
	return err
}

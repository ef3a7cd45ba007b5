// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// mostLate bounds the frames that are held back; more are lost.
	mostLate = 1 << 16
	// mostFrame is the largest frame: jumbo, with its Ethernet header.
	mostFrame = 1 << 16
)

// late is a frame and when it is to be sent.
type late struct {
	frame []byte
	due   time.Time
}

// Delayer makes a tap and sends on by an interface whatever the tap gets, each
// frame after the delay, until ctx ends. It is what addDelay starts.
func Delayer(ctx context.Context, by, tapName string, delay time.Duration) error {
	held := make(chan late, mostLate)
	return sendOn(ctx, by, tapName, func(out int) func([]byte) {
		go sendLate(out, held)
		return func(frame []byte) {
			select {
			case held <- late{frame, time.Now().Add(delay)}:
			default: // full: lost, as in any queue
			}
		}
	})
}

// Shuffler is like Delayer, but each frame is late by a part of the delay at
// random, so that frames overtake each other, and of twice, a share, each is sent
// a second time.
func Shuffler(ctx context.Context, by, tapName string, delay time.Duration, twice float64) error {
	return sendOn(ctx, by, tapName, func(out int) func([]byte) {
		return func(frame []byte) {
			times := 1
			if rand.Float64() < twice {
				times = 2
			}
			for range times {
				time.AfterFunc(rand.N(delay), func() { _, _ = unix.Write(out, frame) })
			}
		}
	})
}

// sendOn makes a tap and gives each frame that it gets to a function, which may
// keep it; start is told the packet socket to send by.
func sendOn(ctx context.Context, by, tapName string, start func(out int) func(frame []byte)) error {
	out, err := openSender(by)
	if err != nil {
		return err
	}
	defer unix.Close(out) //nolint:errcheck // nothing to do about it
	tap, err := makeTap(tapName, by)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = tap.Close() }) // ends the reading
	take := start(out)
	buffer := make([]byte, mostFrame)
	for {
		n, err := tap.Read(buffer)
		if err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("read %s: %w", tapName, err))
		}
		take(append([]byte(nil), buffer[:n]...))
	}
}

// sendLate sends frames in their order, each in its time. What the interface
// does not take is lost.
func sendLate(socket int, held <-chan late) {
	for l := range held {
		time.Sleep(time.Until(l.due))
		_, _ = unix.Write(socket, l.frame)
	}
}

// openSender opens a packet socket that sends by an interface, marked, and
// receives nothing.
func openSender(by string) (int, error) {
	link, err := netlink.LinkByName(by)
	if err != nil {
		return -1, fmt.Errorf("interface %s: %w", by, err)
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_MARK, lateMark),
		unix.Bind(socket, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}))
	if err != nil {
		return -1, errors.Join(fmt.Errorf("packet socket of %s: %w", by, err), unix.Close(socket))
	}
	return socket, nil
}

// makeTap makes a tap that is as wide as an interface, and goes with its file.
// IPv6 is off: it has nothing to say of its own.
func makeTap(name, like string) (*os.File, error) {
	model, err := netlink.LinkByName(like)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", like, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	err = configureTap(fd, name, model.Attrs().MTU)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make tap %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

func configureTap(fd int, name string, mtu int) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	quiet := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	if err := os.WriteFile(quiet, []byte("1"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetMTU(link, mtu), netlink.LinkSetUp(link))
}

// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// faulty is a pair lab whose b is done harm to.
type faulty struct {
	*testing.T
	name string
	*Running
}

func newFaulty(t *testing.T) faulty {
	needRoot(t)
	name := instance(t)
	return faulty{t, name, mustUp(t, "testdata/pair", name)}
}

func (f faulty) inject(kind FaultKind, o FaultOptions) {
	f.Helper()
	if _, err := Fault(f.Context(), f.name, "b", kind, o); err != nil {
		f.Fatal(err)
	}
}

func (f faulty) heal() {
	f.Helper()
	if _, err := Heal(f.Context(), f.name, "b"); err != nil {
		f.Fatal(err)
	}
	eventually(f.T, "b answers after it was healed", f.answers)
	if left, err := Faults(f.name); err != nil || len(left) > 0 {
		f.Errorf("active after heal: %v (error %v)", left, err)
	}
	f.checkNoTrace()
}

// answers tells whether b answers a over both families.
func (f faulty) answers() bool {
	for _, url := range []string{"http://10.0.0.2/small", "http://[fd00::2]/small"} {
		code, err := Exec(f.Context(), f.name, "a", []string{"curl", "-fs", "--max-time", "1", "-o", "/dev/null", url}, Stdio{})
		if code != 0 || err != nil {
			return false
		}
	}
	return true
}

func (f faulty) host(name string) Host {
	f.Helper()
	r, err := Find(f.name) // a fresh look: processes change
	if err != nil {
		f.Fatal(err)
	}
	h, err := r.Host(name)
	if err != nil {
		f.Fatal(err)
	}
	return h
}

// in runs fn inside of a host.
func (f faulty) in(host string, fn func() error) {
	f.Helper()
	if err := inNamespace(f.host(host).Namespace, fn); err != nil {
		f.Fatal(err)
	}
}

// port is b's port of the switch.
func (f faulty) port() (attrs netlink.LinkAttrs) {
	f.Helper()
	f.in("sw", func() error {
		link, err := netlink.LinkByName("b")
		if err == nil {
			attrs = *link.Attrs()
		}
		return err
	})
	return attrs
}

// checkNoTrace looks for queues and taps of faults on b's link.
func (f faulty) checkNoTrace() {
	f.Helper()
	for _, host := range []string{"a", "b", "sw"} {
		f.in(host, func() error {
			links, err := netlink.LinkList()
			for _, l := range links {
				qdiscs, err := netlink.QdiscList(l)
				for _, q := range qdiscs {
					if q.Type() == "clsact" {
						f.Errorf("%s: %s has filters still", host, l.Attrs().Name)
					}
				}
				if err != nil || strings.HasPrefix(l.Attrs().Name, "late") {
					f.Errorf("%s: tap %s is left, or error %v", host, l.Attrs().Name, err)
				}
			}
			return err
		})
	}
}

// cookie identifies the boot of b.
func (f faulty) cookie() (cookie uint64) {
	f.Helper()
	f.in("b", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	return cookie
}

// connect opens a connection from a to b that b's server waits on.
func (f faulty) connect() (conn net.Conn) {
	f.Helper()
	f.in("a", func() (err error) {
		conn, err = net.DialTimeout("tcp", "10.0.0.2:80", 5*time.Second)
		return err
	})
	f.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte("GET /small HTTP/1.0\r\n")); err != nil {
		f.Fatal(err)
	}
	return conn
}

// hear reads what comes from b until nothing has for a while.
func hear(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err
}

// countFrom sends datagrams that are numbered from 0 from one host to another, and
// gives those that came, in their order, when nothing has come for a while.
func (f faulty) countFrom(from, to, address string, count int) (came []int) {
	f.Helper()
	var receiver net.PacketConn
	f.in(to, func() (err error) {
		receiver, err = net.ListenPacket("udp4", address)
		return err
	})
	defer receiver.Close()
	f.in(from, func() error {
		sender, err := net.Dial("udp4", address)
		if err != nil {
			return err
		}
		defer sender.Close()
		for i := range count {
			if _, err := sender.Write([]byte(strconv.Itoa(i))); err != nil {
				return err
			}
		}
		return nil
	})
	buffer := make([]byte, 16)
	for {
		if err := receiver.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			f.Fatal(err)
		}
		n, _, err := receiver.ReadFrom(buffer)
		if err != nil {
			return came
		}
		number, err := strconv.Atoi(string(buffer[:n]))
		if err != nil {
			f.Fatal(err)
		}
		came = append(came, number)
	}
}

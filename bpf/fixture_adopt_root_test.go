// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// remote is a client that is on no interface of the rig.
func (f family) remote() family {
	f.client = rawAddr4
	if f.vip.Is6() {
		f.client = rawAddr6
	}
	return f
}

// openWire attaches the program to an interface that knows the way to the remote
// client: a socket is made only if its answers have one.
func (r *rig) openWire(t testing.TB) {
	t.Helper()
	r.routeClients(t)
	r.attach(t)
}

func (r *rig) routeClients(t testing.TB) {
	t.Helper()
	r.sysctl("net/ipv6/conf/t0/disable_ipv6", "0")
	for _, f := range families {
		client := f.remote().client
		to := &net.IPNet{IP: client.AsSlice(), Mask: net.CIDRMask(client.BitLen(), client.BitLen())}
		r.check(r.nl.RouteAdd(&netlink.Route{LinkIndex: int(r.ifindex), Dst: to, Scope: netlink.SCOPE_LINK}))
		r.neighbor("t0", client.String(), rawMAC)
	}
}

// handshakes are the combinations of what a SYN/ACK may have granted.
func handshakes(f family) (all []cookie) {
	for index := range uint8(8) {
		for _, scale := range []uint8{noScale, 0, 7, 14} {
			for bits := range 8 {
				all = append(all, cookie{
					client: netip.AddrPortFrom(f.client, uint16(20000+len(all))), vip: f.to(webPort),
					clientISN: uint32(len(all)) * 2654435761, epoch: 100, owner: rigSelf, mssIndex: index, wscale: scale,
					sack: bits&1 != 0, ecn: bits&2 != 0, timestamps: bits&4 != 0,
				})
			}
		}
	}
	return all
}

// On a real interface, the first segment of every kind of handshake makes a
// socket that is exactly what was granted.
func TestFixtureAdoption(t *testing.T) {
	r := newRig(t)
	r.openWire(t)
	for _, f := range families {
		f = f.remote()
		l := r.listen(t, f.to(webPort))
		r.run(t, f.name, func(t *testing.T) {
			for _, c := range handshakes(f) {
				if !c.timestamps {
					r.remember(t, f, c)
				}
				r.expectOnWire(t, func() { r.write(t, c.frame(testKeys(100).Current)) }, ReasonAdopted)
				expectAdopted(t, f, c, accept(t, l))
			}
		})
	}
}

// frame is the handshake's last segment on the wire.
func (c cookie) frame(key [16]byte) []byte {
	tcp := c.ack(key)
	tcp.SrcPort, tcp.DstPort, tcp.Window = layers.TCPPort(c.client.Port()), layers.TCPPort(c.vip.Port()), 65535
	return inbound(c.client.Addr(), c.vip.Addr()).tcp(tcp, nil)
}

func (r *rig) write(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := r.peer.WriteTo(frame, &packet.Addr{HardwareAddr: clusterMAC}); err != nil {
		t.Fatal(err)
	}
}

func accept(t testing.TB, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// granted is what a socket says of its handshake (linux/tcp.h).
type granted struct {
	peer                    string
	timestamps, sack, ecn   bool
	scaled                  bool
	sendScale, receiveScale uint8
	rcvNxt, sndNxt          uint32
}

func expectAdopted(t testing.TB, f family, c cookie, conn *net.TCPConn) {
	t.Helper()
	defer conn.Close()
	info := tcpInfo(t, conn)
	const timestamps, sack, wscale, ecn = 1, 2, 4, 8
	got := granted{
		peer: conn.RemoteAddr().String(), timestamps: info.Options&timestamps != 0, sack: info.Options&sack != 0,
		ecn: info.Options&ecn != 0, scaled: info.Options&wscale != 0,
		rcvNxt: sequence(t, conn, recvQueue), sndNxt: sequence(t, conn, sendQueue),
	}
	want := granted{
		peer: c.client.String(), timestamps: c.timestamps, sack: c.sack, ecn: c.ecn, scaled: c.wscale != noScale,
		rcvNxt: c.clientISN + 1, sndNxt: c.isn(testKeys(100).Current) + 1,
	}
	if want.scaled {
		want.sendScale, want.receiveScale = c.wscale, 7
		both := (*[8]uint8)(unsafe.Pointer(info))[6] // two bit fields that unix.TCPInfo leaves out
		got.sendScale, got.receiveScale = both&15, both>>4
	}
	if got != want {
		t.Fatalf("the socket has %+v, want %+v", got, want)
	}
	expectMSS(t, f, c, info)
}

// expectMSS: the kernel sends no more than was granted, and takes off what
// timestamps need; IPv6 has a least MSS of 1220.
func expectMSS(t testing.TB, f family, c cookie, info *unix.TCPInfo) {
	t.Helper()
	most := uint32(min(mssTable[c.mssIndex], f.ownMSS()))
	if f.vip.Is6() {
		most = max(most, 1220)
	}
	if c.timestamps {
		most -= 12
	}
	if info.Snd_mss != most {
		t.Fatalf("the socket sends segments of %d bytes, want %d for %+v", info.Snd_mss, most, c)
	}
}

func tcpInfo(t testing.TB, conn *net.TCPConn) *unix.TCPInfo {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) }); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// A member that is named but whose interface sees the segment twice: the second
// finds the socket.
func TestFixtureAdoptedOnce(t *testing.T) {
	r := newRig(t)
	r.openWire(t)
	for _, f := range families {
		f = f.remote()
		l := r.listen(t, f.to(webPort))
		c := handshakes(f)[4]
		frame := c.frame(testKeys(100).Current)
		r.expectOnWire(t, func() { r.write(t, frame) }, ReasonAdopted)
		r.expectOnWire(t, func() { r.write(t, frame) }, ReasonOwn)
		accept(t, l).Close()
	}
}

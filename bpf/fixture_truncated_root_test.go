// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/packet"
)

// samples are sound frames of each kind that the program tells apart.
func samples(f family) map[string][]byte {
	key := testKeys(100).Current
	o := plainOffer(webPort)
	bare := o
	bare.timestamps, bare.isn = false, 99
	return map[string][]byte{
		"SYN":                    f.segment(webPort, o.syn()),
		"SYN without timestamps": f.segment(webPort, bare.syn()),
		"SYN to no service":      f.segment(noPort, o.syn()),
		"cookie":                 f.segment(quietPort, f.handshake(true).ack(key)),
		"foreign data":           inbound(f.client, f.vip).tcp(layers.TCP{SrcPort: clientPort, DstPort: webPort, ACK: true, Ack: 9 << 24}, make([]byte, 64)),
		"RST":                    f.segment(webPort, layers.TCP{RST: true}),
		"echo":                   f.icmp(f.echoType(), make([]byte, 60)),
		"ICMP error":             f.icmp(f.unreachableType(), f.quote(webPort, 8)),
		"ICMP of another kind":   f.icmp(200, make([]byte, 30)),
		"UDP":                    inbound(f.client, f.vip).raw(layers.IPProtocolUDP, make([]byte, 40)),
	}
}

// Frames cut at every length: as they come, and with an IP header that admits it.
func TestFixtureTruncated(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		for name, frame := range samples(f) {
			r.run(t, f.name+" "+name, func(t *testing.T) {
				w := r.way()
				for n := r.shortest(t, frame); n < len(frame); n++ {
					r.agree(t, w, bytes.Clone(frame[:n]), skBuff{})
					if n >= f.l4() {
						r.agree(t, w, f.fixLengths(bytes.Clone(frame[:n])), skBuff{})
					}
				}
			})
		}
	}
}

// shortest is the least that this kernel takes in a test run: the Ethernet
// header, or since Linux 6.18 or so the IP header too.
func (r *rig) shortest(t *testing.T, frame []byte) int {
	t.Helper()
	for n := 14; n < len(frame); n++ {
		_, err := r.f.objs.OnevipIngress.Run(&ebpf.RunOptions{Data: frame[:n]})
		if errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatal("the kernel takes no test run")
	return 0
}

// agree compares program and oracle.
func (r *rig) agree(t testing.TB, w *way, frame []byte, skb skBuff) outcome {
	t.Helper()
	skb.Ifindex = r.ifindex
	want := w.reason(frame)
	got := r.sendAs(t, frame, skb)
	if got.reason != want {
		t.Fatalf("reason %s, the oracle says %s, frame %x", got.reason, want, frame)
	}
	return got
}

// What a test run can't be given: frames that end in their IP header, on a wire.
func TestFixtureTruncatedOnTheWire(t *testing.T) {
	r := newRig(t)
	r.attach(t)
	for _, f := range families {
		frame := f.segment(webPort, plainOffer(webPort).syn())
		for n := 15; n < f.l4(); n++ {
			r.expectOnWire(t, func() {
				if _, err := r.peer.WriteTo(frame[:n], &packet.Addr{HardwareAddr: clusterMAC}); err != nil {
					t.Fatalf("send %d bytes: %v", n, err)
				}
			}, ReasonNotVIP)
		}
	}
}

// attach puts the program in front of the rig's interface.
func (r *rig) attach(t testing.TB) {
	t.Helper()
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: int(r.ifindex), Program: r.f.objs.OnevipIngress, Attach: ebpf.AttachTCXIngress,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// Frames of which only the Ethernet header is in the buffer's linear part, as
// some drivers deliver them: the program pulls the rest in.
func TestFixtureScattered(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"t0", "t1"} {
		r.check(r.nl.LinkSetMTU(r.link(name), 9000))
	}
	r.attach(t)
	send := r.scatter(t)
	data := make([]byte, 6000)
	for _, f := range families {
		e := inbound(f.client, f.vip)
		syn, ack := plainOffer(webPort).syn(), f.handshake(true).ack(testKeys(100).Current)
		syn.SrcPort, syn.DstPort, ack.SrcPort, ack.DstPort = clientPort, webPort, clientPort, quietPort
		r.expectOnWire(t, func() { send(e.tcp(syn, data)) }, ReasonAnswered)
		r.expectOnWire(t, func() { send(e.tcp(ack, data)) }, ReasonResetNoListener)
		ack.Ack += 1 << 24
		r.expectOnWire(t, func() { send(e.tcp(ack, data)) }, ReasonForeign)
		r.expectOnWire(t, func() { send(f.icmp(f.echoType(), data)) }, ReasonEcho)
		r.expectOnWire(t, func() { send(e.raw(layers.IPProtocolUDP, data)) }, ReasonNotTCP)
	}
}

// expectOnWire sends, and wants exactly this count: a veth pair delivers before
// send returns.
func (r *rig) expectOnWire(t *testing.T, send func(), reason Reason) {
	t.Helper()
	want := r.counters(t)
	want[reason]++
	send()
	if got := r.counters(t); got != want {
		t.Fatalf("counters %v, want %v with one more %s", got, want, reason)
	}
}

// scatter sends frames of more than a page from a packet socket that is told, by
// a header as of virtio_net, to keep just 14 bytes together.
func (r *rig) scatter(t *testing.T) func(frame []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: r.link("t1").Attrs().Index}
	return func(frame []byte) {
		t.Helper()
		header := []byte{0, 0, 14, 0, 0, 0, 0, 0, 0, 0} // hdr_len is the second 16 bits
		if err := unix.Sendto(fd, append(header, frame...), 0, to); err != nil {
			t.Fatal(err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
)

// rawClient is a TCP client made by hand: it has no kernel behind it that would
// answer, so a test says each segment itself. Its address is on no interface.
type rawClient struct {
	t    testing.TB
	conn *packet.Conn
	addr netip.Addr
	vip  netip.Addr
	mac  net.HardwareAddr
	port uint16
	// timestamps are sent from the SYN on; off, the SYN offers window scaling
	// and SACK only.
	timestamps bool
	isn        uint32
	tsval      uint32
}

// rawAddr4 and rawAddr6 are the raw client's.
var (
	rawAddr4 = netip.MustParseAddr("10.77.1.200")
	rawAddr6 = netip.MustParseAddr("fd77::1:200")
	rawMAC   = mustMAC("02:00:5e:00:01:c8")
)

// newRawClient is a raw client with a port of its own.
func (c *cluster) newRawClient(vip netip.Addr, timestamps bool) *rawClient {
	c.t.Helper()
	if c.raw == nil {
		c.plugRaw()
	}
	r := &rawClient{t: c.t, conn: c.raw, vip: vip, addr: rawAddr4, mac: rawMAC, port: c.nextPort(), timestamps: timestamps, isn: 1000, tsval: 5000}
	if vip.Is6() {
		r.addr = rawAddr6
	}
	return r
}

func (c *cluster) nextPort() uint16 {
	c.ports++
	return 40000 + c.ports
}

// plugRaw makes the host that raw clients share.
func (c *cluster) plugRaw() {
	h := newHost(c.root, "raw")
	c.plug(h, rawMAC, "raw")
	for _, n := range c.nodes {
		n.neighbor("eth0", rawAddr4.String(), rawMAC)
		n.neighbor("eth0", rawAddr6.String(), rawMAC)
	}
	h.do(func() {
		iface, err := net.InterfaceByName("eth0")
		h.check(err)
		c.raw, err = packet.Listen(iface, packet.Raw, 0x0003, nil) // ETH_P_ALL
		h.check(err)
	})
	c.root.Cleanup(func() { c.raw.Close() })
}

// seg is one segment, either way. Seq and Ack are absolute.
type seg struct {
	flags    string // of "S", "A", "F", "R"
	seq, ack uint32
	payload  string
	tsecr    uint32
}

// send puts the segment on the wire, to the cluster MAC.
func (r *rawClient) send(s seg) {
	r.t.Helper()
	r.sendFrame(r.encode(s))
}

func (r *rawClient) sendFrame(frame []byte) {
	r.t.Helper()
	if _, err := r.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}); err != nil {
		r.t.Fatalf("send %x: %v", frame, err)
	}
}

func (r *rawClient) encode(s seg) []byte {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(r.port), DstPort: 80, Seq: s.seq, Ack: s.ack, Window: 65535,
		Options: r.options(s),
	}
	for _, f := range s.flags {
		switch f {
		case 'S':
			tcp.SYN = true
		case 'A':
			tcp.ACK = true
		case 'F':
			tcp.FIN = true
		case 'R':
			tcp.RST = true
		}
	}
	eth := &layers.Ethernet{SrcMAC: r.mac, DstMAC: clusterMAC, EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer
	if r.vip.Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: r.addr.AsSlice(), DstIP: r.vip.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(v4)
		ip = v4
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: r.addr.AsSlice(), DstIP: r.vip.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(v6)
		ip = v6
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(s.payload))
	if err != nil {
		r.t.Fatalf("encode %+v: %v", s, err)
	}
	return buf.Bytes()
}

func (r *rawClient) options(s seg) []layers.TCPOption {
	var opts []layers.TCPOption
	if s.flags == "S" {
		opts = append(opts,
			layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}},
			layers.TCPOption{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2},
			layers.TCPOption{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{6}})
	}
	if r.timestamps {
		data := []byte{byte(r.tsval >> 24), byte(r.tsval >> 16), byte(r.tsval >> 8), byte(r.tsval),
			byte(s.tsecr >> 24), byte(s.tsecr >> 16), byte(s.tsecr >> 8), byte(s.tsecr)}
		opts = append(opts, layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: data})
	}
	return opts
}

// receive waits for a segment of the raw client's connection that fits, and
// fails the test if none comes within two seconds.
func (r *rawClient) receive(what string, fits func(*layers.TCP) bool) *layers.TCP {
	r.t.Helper()
	if tcp := r.tryReceive(2*time.Second, fits); tcp != nil {
		return tcp
	}
	r.t.Fatalf("no %s within 2 s", what)
	return nil
}

// tryReceive gives nil if nothing fits within d.
func (r *rawClient) tryReceive(d time.Duration, fits func(*layers.TCP) bool) *layers.TCP {
	r.t.Helper()
	_ = r.conn.SetReadDeadline(time.Now().Add(d))
	buf := make([]byte, 4096)
	for {
		n, _, err := r.conn.ReadFrom(buf)
		if os.IsTimeout(err) {
			return nil
		}
		if err != nil {
			r.t.Fatal(err)
		}
		p := gopacket.NewPacket(buf[:n], layers.LayerTypeEthernet, gopacket.Default)
		tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ok && tcp.SrcPort == 80 && uint16(tcp.DstPort) == r.port && fits(tcp) {
			return tcp
		}
	}
}

// handshake sends a SYN and gives what the SYN/ACK said.
type synAck struct {
	isn   uint32
	tsval uint32
}

func (s synAck) owner() byte { return byte(s.isn >> 24) }

func (r *rawClient) syn() synAck {
	r.t.Helper()
	r.send(seg{flags: "S", seq: r.isn})
	return r.receiveSYNACK()
}

func (r *rawClient) receiveSYNACK() synAck {
	r.t.Helper()
	tcp := r.receive("SYN/ACK", func(t *layers.TCP) bool { return t.SYN && t.ACK && t.Ack == r.isn+1 })
	s := synAck{isn: tcp.Seq}
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindTimestamps && len(o.OptionData) == 8 {
			s.tsval = uint32(o.OptionData[0])<<24 | uint32(o.OptionData[1])<<16 | uint32(o.OptionData[2])<<8 | uint32(o.OptionData[3])
		}
	}
	return s
}

// first is the segment that finishes the handshake, with a request.
func (r *rawClient) first(s synAck) seg {
	return seg{flags: "A", seq: r.isn + 1, ack: s.isn + 1, payload: "who\n", tsecr: s.tsval}
}

func isData(t *layers.TCP) bool  { return len(t.Payload) > 0 }
func isReset(t *layers.TCP) bool { return t.RST }

func (s seg) String() string { return fmt.Sprintf("%s %d/%d %q", s.flags, s.seq, s.ack, s.payload) }

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// attempt is a handshake on the tuple of the rig's connections, finished by its
// client under another ISN.
func (f family) attempt(isn uint32, owner topology.NodeID) layers.TCP {
	o := plainOffer(webPort)
	o.isn = isn
	return o.cookie(f, owner, 100).ack(testKeys(100).Current)
}

// far is further from seq than any window.
func far(seq uint32) uint32 { return seq + 1<<31 }

func TestFixtureOwn(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		c := r.connect(t, f)
		next := sequence(t, c.server, recvQueue)
		forged := f.attempt(far(next), rigSelf)
		forged.Ack ^= 1
		tests := map[string]layers.TCP{
			"next data":              {ACK: true, PSH: true, Seq: next, Ack: 1},
			"acknowledgement":        {ACK: true, Seq: next},
			"FIN":                    {ACK: true, FIN: true, Seq: next},
			"RST":                    {RST: true, Seq: next},
			"SYN/ACK":                {SYN: true, ACK: true, Seq: next},
			"before the window":      {ACK: true, Seq: next - 1},
			"far from the window":    {ACK: true, Seq: far(next)},
			"a forged cookie":        forged,
			"its own first segment":  f.attempt(next-1, rigSelf),
			"an attempt unannounced": f.attempt(next+1000, rigOther), // looks like data that came early
		}
		for name, tcp := range tests {
			r.run(t, f.name+" "+name, func(t *testing.T) {
				frame := f.segment(webPort, tcp)
				if got := r.expect(t, frame, ReasonOwn); !bytes.Equal(got.frame, frame) {
					t.Fatalf("changed to %x", got.frame)
				}
			})
		}
	}
}

// A client that begins anew on a tuple whose old socket lives here: its SYN only
// marks, a valid cookie ends the old socket by a RST in sequence.
func TestFixtureReuseOfLiveTuple(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		c := r.connect(t, f)
		next := sequence(t, c.server, recvQueue)
		rst := f.raised(webPort, layers.TCP{RST: true, Seq: next})
		near := next + 5000
		r.run(t, f.name+" near, unannounced", func(t *testing.T) {
			r.expect(t, f.segment(webPort, f.attempt(near, rigOther)), ReasonOwn)
		})
		r.run(t, f.name+" near, after its SYN", func(t *testing.T) {
			o := plainOffer(webPort)
			o.isn = near
			r.expect(t, f.segment(webPort, o.syn()), ReasonAnswered)
			got := r.expect(t, f.segment(webPort, f.attempt(near, rigOther)), ReasonReuseLive)
			expectFrame(t, rst, got.frame)
			r.expect(t, f.segment(webPort, f.attempt(near+1, rigOther)), ReasonOwn)
		})
		r.run(t, f.name+" far, another's", func(t *testing.T) {
			got := r.expect(t, f.segment(webPort, f.attempt(far(next), rigOther)), ReasonReuseLive)
			expectFrame(t, rst, got.frame)
		})
		r.testReuseByUs(t, f, f.segment(webPort, f.attempt(far(next), rigSelf)), rst, ReasonReuseLive)
	}
}

// testReuseByUs: the new connection is ours too. A copy of its segment comes in
// again behind the RST; if the socket is still there then, nothing goes round.
func (r *rig) testReuseByUs(t *testing.T, f family, frame, rst []byte, want Reason) {
	r.run(t, f.name+" far, our own", func(t *testing.T) {
		arrivals := r.hear(t, "t0")
		got := r.expect(t, frame, want)
		expectFrame(t, rst, got.frame)
		expectArrival(t, arrivals, frame)
	})
	r.run(t, f.name+" far, our own, but the old socket stays", func(t *testing.T) {
		skb := skBuff{Ifindex: r.ifindex, Mark: 0x4f4e4556} // MARK_AGAIN
		if got := r.sendAs(t, frame, skb); got.reason != ReasonReuseStuck {
			t.Fatalf("reason %s, want %s", got.reason, ReasonReuseStuck)
		}
	})
}

// A closed connection rests in TIME_WAIT: it yields to a valid cookie only.
func TestFixtureReuseOfTimeWait(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		c := r.connect(t, f)
		first := sequence(t, c.client, sendQueue)
		r.closeServerFirst(t, c)
		next := first + 1 // a FIN and no data
		rst := f.raised(webPort, layers.TCP{RST: true, Seq: next})
		forged := f.attempt(far(next), rigSelf)
		forged.Options[2].OptionData[7] ^= 1
		tests := map[string]layers.TCP{
			"last ACK again":        {ACK: true, Seq: next, Ack: 1},
			"FIN again":             {ACK: true, FIN: true, Seq: next - 1, Ack: 1},
			"its own first segment": f.attempt(first-1, rigSelf),
			"a forged cookie":       forged,
			"RST":                   {RST: true, Seq: next},
		}
		for name, tcp := range tests {
			r.run(t, f.name+" "+name, func(t *testing.T) { r.expect(t, f.segment(webPort, tcp), ReasonOwn) })
		}
		r.run(t, f.name+" SYN", func(t *testing.T) {
			r.expect(t, f.segment(webPort, plainOffer(webPort).syn()), ReasonAnswered)
		})
		r.run(t, f.name+" a new one, another's", func(t *testing.T) {
			got := r.expect(t, f.segment(webPort, f.attempt(next+77, rigOther)), ReasonReuseTimeWait)
			expectFrame(t, rst, got.frame)
		})
		r.testReuseByUs(t, f, f.segment(webPort, f.attempt(next+77, rigSelf)), rst, ReasonReuseTimeWait)
	}
}

func (r *rig) closeServerFirst(t *testing.T, c *connection) {
	t.Helper()
	c.server.Close()
	c.client.Close()
	r.awaitRest(t, "TIME_WAIT", "06")
}

// awaitRest waits until what is left of a server's socket is in this state.
func (r *rig) awaitRest(t *testing.T, name, state string) {
	t.Helper()
	const timewait = "03:" // the timer of a socket that is reduced to a minimum
	waitFor(t, name, func() bool {
		for _, table := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + table)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(string(text), "\n") {
				words := strings.Fields(line)
				if len(words) > 5 && strings.HasSuffix(words[1], ":0050") && words[3] == state && strings.HasPrefix(words[5], timewait) {
					return true
				}
			}
		}
		return false
	})
}

// hear opens an ear on an interface: what arrives there, all protocols.
func (r *rig) hear(t testing.TB, name string) *packet.Conn {
	t.Helper()
	iface, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := packet.Listen(iface, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func expectArrival(t testing.TB, conn *packet.Conn, want []byte) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(frame)
		if err != nil {
			t.Fatalf("wait for a copy of %x: %v", want, err)
		}
		if bytes.Equal(frame[:n], want) {
			return
		}
	}
}

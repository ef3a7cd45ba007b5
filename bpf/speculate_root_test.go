// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/onevip/onevip/topology"
)

// assist does for the node what its agent does: sends what notices ask for.
func (n *node) assist(t testing.TB) {
	t.Helper()
	wire := n.openWire(t)
	reader, err := n.filter.Notices()
	n.check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			notice, err := reader.Read()
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if err := wire(notice.Frame); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { reader.Close(); <-done })
}

// openWire gives a way to send whole frames from the node.
func (n *node) openWire(t testing.TB) (send func([]byte) error) {
	t.Helper()
	var conn *packet.Conn
	n.do(func() {
		iface, err := net.InterfaceByName("eth0")
		n.check(err)
		conn, err = packet.Listen(iface, packet.Raw, 0, nil)
		n.check(err)
	})
	t.Cleanup(func() { conn.Close() })
	return func(frame []byte) error {
		_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
		return err
	}
}

// pair makes the first node the primary of all slots and the second its secondary.
func (c *cluster) pair(s Speculation) (primary, secondary *node) {
	c.t.Helper()
	primary, secondary = c.nodes[0], c.nodes[1]
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i] = Slot{Primary: primary.id, Secondary: secondary.id}
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetSlots(table))
		n.check(n.filter.SetSpeculation(s))
	}
	return primary, secondary
}

// A primary that hears no SYN: its secondary answers, and whoever it names serves.
func TestSecondaryAnswersForASilentPrimary(t *testing.T) {
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newCluster(t, 3)
			c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
			for _, n := range c.nodes {
				n.serve()
				n.assist(t)
			}
			primary, secondary := c.pair(Speculation{Delay: 10 * time.Millisecond})
			c.deafen(primary, true)
			c.onlyPick(c.nodes[2])
			const each = 10
			for i := range 2 * each {
				c.expectServed([]netip.Addr{vip4, vip6}[i%2], c.nodes[2])
			}
			if n := secondary.reason(ReasonSpeculated) + secondary.reason(ReasonAnsweredUntimed); n < 2*each {
				t.Errorf("%d speculations for %d connections\n%s", n, 2*each, c.explain())
			}
			if n := c.adopted(); n != 2*each {
				t.Errorf("adopted %d, want %d\n%s", n, 2*each, c.explain())
			}
		})
	}
}

func (c *cluster) expectServed(vip netip.Addr, by *node) {
	c.t.Helper()
	conn, err := c.dial(vip, 0)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.explain())
	}
	defer conn.Close()
	if name, err := ask(conn); err != nil || name != by.name {
		c.t.Fatalf("%q, %v; want %s\n%s", name, err, by.name, c.explain())
	}
}

// A primary that answers: the fabric floods its SYN/ACKs, as the switch mirrors
// them, and no secondary speaks.
func TestSecondaryIsSilentBesideAPrimary(t *testing.T) {
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		n.serve()
		n.assist(t)
	}
	_, secondary := c.pair(Speculation{Delay: time.Minute})
	c.onlyPick(c.nodes[2])
	for i := range 20 {
		c.expectServed([]netip.Addr{vip4, vip6}[i%2], c.nodes[2])
	}
	if n := secondary.reason(ReasonAwaiting) + secondary.reason(ReasonAnsweredUntimed); n != 20 {
		t.Errorf("%d SYNs waited or had no timer, want 20\n%s", n, c.explain())
	}
	waitFor(t, "no SYN waits any more", func() bool { return secondary.waiting() == 0 })
	if n := secondary.reason(ReasonSpeculated); n != 0 {
		t.Errorf("%d speculations\n%s", n, c.explain())
	}
}

// waiting is how many SYNs wait at this node.
func (n *node) waiting() (count int) {
	n.t.Helper()
	for _, w := range n.filter.places(n.t) {
		if w.Taken != 0 {
			count++
		}
	}
	return count
}

// Both answer always, each naming whom it likes: every connection has one owner.
func TestPrimaryAndSecondaryBothAnswer(t *testing.T) {
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		n.serve()
	}
	c.pair(Speculation{})
	const total = 100
	for i := range total {
		conn, err := c.dial([]netip.Addr{vip4, vip6}[i%2], 0)
		if err != nil {
			t.Fatalf("%v\n%s", err, c.explain())
		}
		if _, err := ask(conn); err != nil {
			t.Fatalf("%v\n%s", err, c.explain())
		}
		conn.Close()
	}
	if n := c.reasons(ReasonAnsweredForPrimary); n < total {
		t.Errorf("the secondary answered %d times, want %d\n%s", n, total, c.explain())
	}
	if n := c.adopted(); n != total {
		t.Errorf("adopted %d, want %d\n%s", n, total, c.explain())
	}
}

// The bare ACK is lost, and the client has nothing to say: the owner sends the
// SYN/ACK again, and what the client answers is adopted.
func TestUnheardSYNACKIsSentAgain(t *testing.T) {
	variants(t, 3, func(t *testing.T, c *cluster, r *rawClient) {
		owner := c.nodes[2]
		c.makePrimary(c.nodes[0])
		c.onlyPick(owner)
		first := r.syn()
		waitFor(t, "the owner keeps the SYN/ACK", func() bool { return len(owner.unheard(time.Second)) == 1 })
		send := owner.openWire(t)
		for _, frame := range owner.unheard(3 * time.Second) {
			owner.check(send(frame))
		}
		again := r.receiveSYNACK()
		if again != first {
			t.Fatalf("the second SYN/ACK is %+v, want %+v", again, first)
		}
		r.send(seg{flags: "A", seq: r.isn + 1, ack: again.isn + 1, tsecr: again.tsval})
		c.waitActive(1)
		if n := len(owner.unheard(7 * time.Second)); n != 0 {
			t.Errorf("%d SYN/ACKs are still to be sent", n)
		}
		r.send(r.first(again))
		if got := r.receive("answer", isData); string(got.Payload) != fmt.Sprintln(owner.name) {
			t.Errorf("answer %q, want %s", got.Payload, owner.name)
		}
		r.send(seg{flags: "R", seq: r.isn + 5, tsecr: again.tsval})
		c.waitActive(0)
	})
}

// unheard is what the node has to send again when this time has passed.
func (n *node) unheard(later time.Duration) [][]byte {
	n.t.Helper()
	now, err := Now()
	n.check(err)
	n.filter.again.due = 0 // what came since may be older, in a time that is made up
	frames, err := n.filter.Unheard(now + later)
	n.check(err)
	return frames
}

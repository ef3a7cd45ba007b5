// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

func TestEveryConnectionHasOneOwner(t *testing.T) {
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newCluster(t, 4)
			c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
			for _, n := range c.nodes {
				n.serve()
			}
			const each = 200
			served := map[string]int{}
			for i := range 2 * each {
				vip := vip4
				if i%2 == 1 {
					vip = vip6
				}
				conn, err := c.dial(vip, 0)
				if err != nil {
					t.Fatalf("connection %d to %s: %v\n%s", i, vip, err, c.explain())
				}
				name, err := ask(conn)
				if err != nil {
					t.Fatalf("connection %d to %s: %v\n%s", i, vip, err, c.explain())
				}
				served[name]++
				conn.Close()
			}
			if got := c.adopted(); got != 2*each {
				t.Errorf("adopted %d connections, want %d", got, 2*each)
			}
			t.Log(served)
		})
	}
}

// explain shows the counters that moved, node by node.
func (c *cluster) explain() string {
	out := ""
	for _, n := range c.nodes {
		out += n.name + ":"
		for _, r := range Reasons() {
			if k := n.reason(r); k > 0 {
				out += fmt.Sprintf(" %s=%d", r, k)
			}
		}
		if seen, err := n.filter.Inspections(webService); err == nil {
			out += fmt.Sprintf(" %v", seen)
		}
		out += "\n"
	}
	return out
}

// variants runs a story over both families, with and without timestamps, each
// with a connection of its own in one cluster.
func variants(t *testing.T, nodes int, story func(t *testing.T, c *cluster, r *rawClient)) {
	c := newCluster(t, nodes)
	for _, n := range c.nodes {
		n.serve()
	}
	for _, vip := range []netip.Addr{vip4, vip6} {
		for _, timestamps := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s timestamps=%t", vip, timestamps), func(t *testing.T) {
				c.t = t
				c.share(topology.LeastConnection)
				c.begin()
				story(t, c, c.newRawClient(vip, timestamps))
			})
		}
	}
}

func TestFirstSegmentAgainAfterCloseIsNotServedAgain(t *testing.T) {
	variants(t, 3, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		first := r.first(sa)
		r.send(first)
		answer := r.receive("answer", isData)
		after := answer.Seq + uint32(len(answer.Payload))
		fin := seg{flags: "AR", seq: first.seq + 4, ack: after, tsecr: sa.tsval}
		r.send(fin)
		c.waitActive(0)

		r.send(first)
		if got := r.tryReceive(300*time.Millisecond, isData); got != nil {
			t.Fatalf("the request was served again: %q", got.Payload)
		}
		if n := c.reasons(ReasonDuplicate); n != 1 {
			t.Errorf("duplicate counted %d times, want 1\n%s", n, c.explain())
		}
		if got := c.adopted(); got != 1 {
			t.Errorf("adopted %d, want 1", got)
		}
		// Any other segment of it gets the RST that TCP owes.
		r.send(seg{flags: "A", seq: first.seq + 4, ack: after, payload: "x", tsecr: sa.tsval})
		r.receive("RST", isReset)
	})
}

func TestSYNLostAtOneNode(t *testing.T) {
	variants(t, 3, func(t *testing.T, c *cluster, r *rawClient) {
		// Whoever is not the primary may be the owner: keep the SYN from it.
		owner := c.nodes[2]
		c.onlyPick(owner)
		c.makePrimary(c.nodes[0])
		c.deafen(owner, true)
		c.mapMember(owner)
		sa := r.syn()
		if sa.owner() != byte(owner.id) {
			t.Fatalf("owner %d named, want %d", sa.owner(), owner.id)
		}
		c.deafen(owner, false)
		r.send(r.first(sa))
		answer := r.receive("answer", isData)
		if string(answer.Payload) != owner.name+"\n" {
			t.Errorf("answered by %q, want %s", answer.Payload, owner.name)
		}
	})
}

func TestACKLostAtTheOwner(t *testing.T) {
	variants(t, 3, func(t *testing.T, c *cluster, r *rawClient) {
		owner := c.nodes[1]
		c.onlyPick(owner)
		sa := r.syn()
		first := r.first(sa)
		c.deafen(owner, true)
		r.send(first)
		if got := r.tryReceive(200*time.Millisecond, isData); got != nil {
			t.Fatalf("answered %q by a node that was not named", got.Payload)
		}
		c.deafen(owner, false)
		r.send(first)
		answer := r.receive("answer", isData)
		if string(answer.Payload) != owner.name+"\n" {
			t.Errorf("answered by %q, want %s", answer.Payload, owner.name)
		}
	})
}

func TestForgedACKIsSilentlyDropped(t *testing.T) {
	variants(t, 2, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		forged := r.first(sa)
		forged.ack ^= 1 << 5 // in the MAC
		r.send(forged)
		if got := r.tryReceive(200*time.Millisecond, func(t *layers.TCP) bool { return true }); got != nil {
			t.Fatalf("a forged ACK was answered: %+v", got)
		}
		if got := c.adopted(); got != 0 {
			t.Errorf("adopted %d, want 0", got)
		}
		if n := c.reasons(ReasonCookieMismatch); n != 1 {
			t.Errorf("cookie_mismatch counted %d times, want 1\n%s", n, c.explain())
		}
	})
}

func TestNewConnectionOnALiveTuple(t *testing.T) {
	for _, where := range []string{"same owner", "other owner"} {
		t.Run(where, func(t *testing.T) {
			variants(t, 2, func(t *testing.T, c *cluster, r *rawClient) {
				c.onlyPick(c.nodes[0])
				r.send(r.first(r.syn()))
				r.receive("answer", isData)

				// The client was rebooted; its tuple is the same, its ISN is not.
				r.isn, r.tsval = r.isn+12345, 77
				newOwner := c.nodes[0]
				if where == "other owner" {
					newOwner = c.nodes[1]
				}
				c.onlyPick(newOwner)
				r.send(r.first(r.syn()))
				answer := r.receive("answer", isData)
				if string(answer.Payload) != newOwner.name+"\n" {
					t.Errorf("answered by %q, want %s", answer.Payload, newOwner.name)
				}
				c.waitActive(1)
				if n := c.reasons(ReasonReuseLive); n != 1 {
					t.Errorf("reuse_live counted %d times, want 1\n%s", n, c.explain())
				}
			})
		})
	}
}

func TestSpoofedSYNHarmsNoConnection(t *testing.T) {
	variants(t, 2, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		first := r.first(sa)
		r.send(first)
		answer := r.receive("answer", isData)

		honest := r.isn
		r.isn = 999999
		r.syn() // the answer goes to the real client, which ignores it
		r.isn = honest

		r.send(seg{flags: "A", seq: first.seq + 4, ack: answer.Seq + uint32(len(answer.Payload)), payload: "again\n", tsecr: sa.tsval})
		r.receive("second answer", func(tcp *layers.TCP) bool { return isData(tcp) && tcp.Seq != answer.Seq })
		if got := c.adopted(); got != 1 {
			t.Errorf("adopted %d, want 1", got)
		}
	})
}

func TestTupleInTimeWaitIsUsedAgain(t *testing.T) {
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newCluster(t, 3)
			c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
			for _, n := range c.nodes {
				n.serveAndClose()
			}
			const rounds, ports = 20, 20
			for i := range rounds * ports {
				conn, err := c.dial(vip4, 50000+i%ports)
				if err != nil {
					t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
				}
				if _, err := ask(conn); err != nil {
					t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
				}
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("connection %d: the server should have closed: %v", i, err)
				}
				conn.Close()
			}
			if got := c.adopted(); got != rounds*ports {
				t.Errorf("adopted %d, want %d", got, rounds*ports)
			}
			if c.reasons(ReasonReuseTimeWait) == 0 {
				t.Error("no TIME_WAIT was met: the test tests nothing")
			}
		})
	}
}

func TestTwoSchedulersAnswerEverySYN(t *testing.T) {
	c := newCluster(t, 4)
	for i, n := range c.nodes {
		n.serve()
		if i < 2 { // both believe to be primary of all, and name different owners
			c.setSlots(n, n.id)
			n.check(n.filter.SetLoads(webService, []Load{{Node: c.nodes[i+2].id, Weight: 1}}))
		} else {
			c.setSlots(n, c.nodes[0].id)
		}
	}
	const total = 500
	served := map[string]int{}
	for i := range total {
		conn, err := c.dial(vip4, 0)
		if err != nil {
			t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
		}
		name, err := ask(conn)
		if err != nil {
			t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
		}
		served[name]++
		conn.Close()
	}
	if got := c.adopted(); got != total {
		t.Errorf("adopted %d, want %d\n%s", got, total, c.explain())
	}
	if got := c.reasons(ReasonAnswered); got < 2*total {
		t.Errorf("%d SYN/ACKs for %d SYNs: both should have answered", got, total)
	}
	t.Log(served)
}

// mapMember gives the node a MAC of its own, to which the fabric does not flood
// but forward: the primary's copy of a SYN arrives though the flood's does not.
func (c *cluster) mapMember(n *node) {
	c.t.Helper()
	own := topology.MAC{2, 0, 0x5e, 0, 2, byte(n.id)}
	c.fabric.check(c.fabric.nl.NeighSet(&netlink.Neigh{
		LinkIndex: c.fabric.link(n.name).Attrs().Index, Family: unix.AF_BRIDGE,
		HardwareAddr: own[:], Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP,
	}))
	for _, other := range c.nodes {
		other.check(other.filter.SetMembers(map[topology.NodeID]topology.MAC{n.id: own}))
	}
}

// setSlots makes primary the primary of all slots, in one node's eyes.
func (c *cluster) setSlots(n *node, primary topology.NodeID) {
	c.t.Helper()
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = primary
	}
	n.check(n.filter.SetSlots(table))
}

func (c *cluster) makePrimary(primary *node) {
	c.t.Helper()
	for _, n := range c.nodes {
		c.setSlots(n, primary.id)
	}
}

func (c *cluster) onlyPick(owner *node) {
	c.t.Helper()
	for _, n := range c.nodes {
		n.check(n.filter.SetLoads(webService, []Load{{Node: owner.id, Weight: 1}}))
	}
}

// waitActive waits until the nodes together have this many connections.
func (c *cluster) waitActive(want int64) {
	c.t.Helper()
	waitFor(c.t, fmt.Sprintf("%d connections active", want), func() bool { return c.active() == want })
}

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// inspectCluster makes the cluster's service one that looks at requests, and the fabric
// more of a switch: each node has an address of its own, what is flooded to it is
// rewritten to that, and frames between nodes go to one port only.
func (c *cluster) inspectCluster(rules Rules) {
	c.t.Helper()
	members := map[topology.NodeID]topology.MAC{}
	for _, n := range c.nodes {
		members[n.id] = n.ownMAC()
		c.giveAddress(n)
	}
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = c.nodes[i%len(c.nodes)].id
		table[i].Secondary = c.nodes[(i+1)%len(c.nodes)].id
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetMembers(members))
		n.check(n.filter.SetServices([]Service{inspected(rules)}))
		n.check(n.filter.SetSlots(table))
	}
}

func (n *node) ownMAC() topology.MAC { return topology.MAC{2, 0, 0x5e, 0, 2, byte(n.id)} }

func (c *cluster) giveAddress(n *node) {
	c.t.Helper()
	own := n.ownMAC()
	n.check(n.nl.LinkSetHardwareAddr(n.link("eth0"), own[:]))
	n.filter.mu.Lock()
	n.filter.config.Mac = own
	err := n.filter.applyConfig()
	n.filter.mu.Unlock()
	n.check(err)
	port := c.fabric.link(n.name).Attrs().Index
	c.fabric.check(c.fabric.nl.NeighSet(&netlink.Neigh{
		LinkIndex: port, Family: unix.AF_BRIDGE, HardwareAddr: own[:],
		Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP,
	}))
	c.rewriteFlooded(port, own)
}

// rewriteFlooded does what the switch's group does: the cluster's address becomes the
// node's at its port.
func (c *cluster) rewriteFlooded(port int, own topology.MAC) {
	c.t.Helper()
	word := func(m []byte) int64 {
		return int64(uint32(m[0]) | uint32(m[1])<<8 | uint32(m[2])<<16 | uint32(m[3])<<24)
	}
	half := func(m []byte) int64 { return int64(uint16(m[4]) | uint16(m[5])<<8) }
	c.onEgress(port, asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 76, asm.Word), // __sk_buff.data
		asm.LoadMem(asm.R3, asm.R1, 80, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, ethernetSize),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R5, asm.R2, 0, asm.Word),
		asm.LoadImm(asm.R6, word(clusterMAC), asm.DWord),
		asm.JNE.Reg(asm.R5, asm.R6, "out"),
		asm.LoadMem(asm.R5, asm.R2, 4, asm.Half),
		asm.LoadImm(asm.R6, half(clusterMAC), asm.DWord),
		asm.JNE.Reg(asm.R5, asm.R6, "out"),
		asm.LoadImm(asm.R6, word(own[:]), asm.DWord),
		asm.StoreMem(asm.R2, 0, asm.R6, asm.Word),
		asm.LoadImm(asm.R6, half(own[:]), asm.DWord),
		asm.StoreMem(asm.R2, 4, asm.R6, asm.Half),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"), // TCX_NEXT
		asm.Return(),
	})
}

// onEgress runs the program on what leaves by a port of the fabric.
func (c *cluster) onEgress(port int, program asm.Instructions) {
	c.t.Helper()
	loaded, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", AttachType: ebpf.AttachTCXEgress, Instructions: program,
	})
	c.fabric.check(err)
	c.root.Cleanup(func() { loaded.Close() })
	c.fabric.do(func() {
		l, err := link.AttachTCX(link.TCXOptions{Interface: port, Program: loaded, Attach: ebpf.AttachTCXEgress})
		c.fabric.check(err)
		c.root.Cleanup(func() { l.Close() })
	})
}

// ethernetSize is that of an Ethernet header.
const ethernetSize = 14

// home makes one node that of all keys.
func (c *cluster) home(n *node) {
	c.t.Helper()
	homes := make([]topology.NodeID, topology.SlotCount)
	for i := range homes {
		homes[i] = n.id
	}
	for _, other := range c.nodes {
		other.check(other.filter.SetSourceHash(webService, homes))
	}
}

// inspectedVariants is variants for a service that looks at requests: the first node is
// the primary of all slots, the second their secondary, the third the home of all keys.
func inspectedVariants(t *testing.T, story func(t *testing.T, c *cluster, r *rawClient)) {
	c := newCluster(t, 3)
	for _, n := range c.nodes {
		n.serve()
	}
	c.inspectCluster(testRules())
	for _, vip := range []netip.Addr{vip4, vip6} {
		for _, timestamps := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s timestamps=%t", vip, timestamps), func(t *testing.T) {
				c.t = t
				c.idle()
				c.setRoles(Slot{Primary: 1, Secondary: 2})
				c.home(c.nodes[2])
				c.begin()
				story(t, c, c.newRawClient(vip, timestamps))
				c.expectOneOwner()
			})
		}
	}
}

// idle lets all nodes be picked, and none is loaded.
func (c *cluster) idle() {
	c.t.Helper()
	var loads []Load
	for _, n := range c.nodes {
		loads = append(loads, Load{Node: n.id, Weight: 64}) // of a node of weight 1
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetLoads(webService, loads))
	}
}

func (c *cluster) setRoles(role Slot) {
	c.t.Helper()
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i] = role
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetSlots(table))
	}
}

func (c *cluster) expectOneOwner() {
	c.t.Helper()
	for _, n := range c.nodes {
		got, err := n.filter.Violations()
		if n.check(err); got["double_owner"].Times != 0 {
			c.t.Errorf("%s: %+v", n.name, got)
		}
	}
}

const get = "GET /cat HTTP/1.1\r\n" // the servers answer by the line

// request is the first segment with this payload.
func (r *rawClient) request(s synAck, payload string) seg {
	first := r.first(s)
	first.payload = payload
	return first
}

func (r *rawClient) bare(s synAck) seg { return r.request(s, "") }

func (c *cluster) expectAnswer(r *rawClient, want *node) *layers.TCP {
	c.t.Helper()
	tcp := r.tryReceive(2*time.Second, isData)
	if tcp == nil || string(tcp.Payload) != want.name+"\n" {
		c.t.Fatalf("answer %v, want %s\n%s", tcp, want.name, c.explain())
	}
	return tcp
}

func (c *cluster) expectSilence(r *rawClient) {
	c.t.Helper()
	if got := r.tryReceive(200*time.Millisecond, func(*layers.TCP) bool { return true }); got != nil {
		c.t.Fatalf("answered: %+v\n%s", got, c.explain())
	}
}

// The bare ACK makes no socket anywhere; the request goes to its home. It comes twice,
// and late once more, and the connection goes on.
func TestRequestNamesTheOwner(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		if sa.owner() != 1 {
			t.Fatalf("the SYN/ACK names %d, want its sender", sa.owner())
		}
		r.send(r.bare(sa))
		c.expectSilence(r)
		if c.adopted() != 0 {
			t.Fatal("a bare ACK made a socket")
		}
		first := r.request(sa, get)
		r.send(first)
		r.send(first)
		answer := c.expectAnswer(r, c.nodes[2])
		r.send(first)
		r.send(seg{flags: "A", seq: first.seq + uint32(len(get)), ack: answer.Seq + 3, payload: "x\n", tsecr: sa.tsval})
		r.receive("second answer", func(tcp *layers.TCP) bool { return isData(tcp) && tcp.Seq != answer.Seq })
		c.expectAdoptedOnce()
		if n := c.reasons(ReasonAdoptedHanded); n == 0 {
			t.Errorf("nothing was handed over\n%s", c.explain())
		}
	})
}

func (c *cluster) expectAdoptedOnce() {
	c.t.Helper()
	if got := c.adopted(); got != 1 {
		c.t.Errorf("adopted %d, want 1\n%s", got, c.explain())
	}
}

// A request for the inspector itself, whose bare ACK was lost.
func TestRequestStaysWithItsInspector(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		c.home(c.nodes[0])
		r.send(r.request(r.syn(), get))
		c.expectAnswer(r, c.nodes[0])
		c.expectAdoptedOnce()
	})
}

// A request in pieces that come at once: what overtakes the first is handed after it,
// or sent again.
func TestSplitRequest(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		r.send(r.bare(sa))
		pieces := []string{get[:18], get[18:], "Host: x\r\n"}
		at := r.isn + 1
		var all []seg
		for _, piece := range pieces {
			all = append(all, seg{flags: "A", seq: at, ack: sa.isn + 1, payload: piece, tsecr: sa.tsval})
			at += uint32(len(piece))
		}
		for _, i := range []int{2, 0, 1, 2, 2} {
			r.send(all[i])
		}
		got := ""
		for len(got) < 6 {
			tcp := r.receive("answers", isData)
			got += string(tcp.Payload)
			r.send(seg{flags: "A", seq: at, ack: tcp.Seq + uint32(len(tcp.Payload)), tsecr: sa.tsval})
		}
		if owner := got[:2]; got != owner+"\n"+owner+"\n" {
			t.Errorf("answers %q, want two of one node\n%s", got, c.explain())
		}
		c.expectAdoptedOnce()
	})
}

// The owner misses the SYN and all that is flooded: the inspector's frames are enough.
func TestOwnerHearsItsInspectorOnly(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		owner := c.nodes[2]
		c.deafen(owner, true)
		defer c.deafen(owner, false)
		sa := r.syn()
		r.send(r.bare(sa))
		first := r.request(sa, get)
		r.send(first)
		r.send(seg{flags: "A", seq: first.seq + uint32(len(get)), ack: sa.isn + 1, payload: "Host\n", tsecr: sa.tsval})
		answer := c.expectAnswer(r, owner)
		r.receive("second answer", func(tcp *layers.TCP) bool { return isData(tcp) && tcp.Seq != answer.Seq })
		c.expectAdoptedOnce()
	})
}

// The same frames from a client, or from a member that was not named, are nothing.
func TestSpoofedHandoverIsNotAdopted(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		inspector := c.nodes[0]
		c.deafen(inspector, true) // it decides nothing
		defer c.deafen(inspector, false)
		first := r.request(sa, get)
		r.send(first)
		third := c.nodes[2].ownMAC()
		for _, from := range []net.HardwareAddr{rawMAC, third[:], clusterMAC} {
			frame := r.encode(first)
			for _, to := range c.nodes[1:] {
				mac := to.ownMAC()
				r.sendFrame(between(frame, from, mac[:]))
			}
		}
		c.expectSilence(r)
		if c.adopted() != 0 {
			t.Fatalf("adopted\n%s", c.explain())
		}
		c.deafen(inspector, false)
		r.send(first)
		c.expectAnswer(r, c.nodes[2])
	})
}

// A tuple whose old connection is still alive, where it goes now or where it is decided.
func TestInspectedTupleIsUsedAgain(t *testing.T) {
	t.Parallel() // it waits for clients more than it works

	for _, nodes := range [][2]int{{2, 2}, {2, 1}, {0, 2}, {2, 0}} { // the first is the inspector
		first, second := nodes[0], nodes[1]
		t.Run(fmt.Sprintf("n%d then n%d", first+1, second+1), func(t *testing.T) {
			inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
				c.home(c.nodes[first])
				r.send(r.request(r.syn(), get))
				c.expectAnswer(r, c.nodes[first])
				r.isn, r.tsval = r.isn+123456, 77
				c.home(c.nodes[second])
				sa := r.syn()
				r.send(r.bare(sa))
				r.send(r.request(sa, get))
				c.expectAnswer(r, c.nodes[second])
				c.waitActive(1)
			})
		})
	}
}

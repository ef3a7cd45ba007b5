// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/topology"
)

// dumbPacket is the fields of a packet that flows look at.
type dumbPacket map[FieldID]string

func (p dumbPacket) with(fields ...Field) dumbPacket {
	next := maps.Clone(p)
	for _, f := range fields {
		next[f.ID] = f.Value
	}
	return next
}

func (p dumbPacket) matches(m Match) bool {
	return !slices.ContainsFunc(m, func(f Field) bool {
		value, there := p[f.ID]
		if f.Mask != "" {
			value = string(and(value, f.Mask))
		}
		return !there || value != f.Value
	})
}

func and(value, mask string) []byte {
	b := []byte(value)
	for i := range b {
		b[i] &= mask[i]
	}
	return b
}

// dumbHost is a node or a client.
type dumbHost struct {
	name   string
	mac    topology.MAC
	at     int // its switch
	port   uint32
	node   topology.NodeID // 0: a client
	fenced bool
}

// dumbNet is switches, joined as a tree, that do what their pipelines say. Each
// knows where all hosts are.
type dumbNet struct {
	pipelines []Pipeline
	hosts     []dumbHost
	parent    []int // of each switch but the first
	got       map[string]int
	hops      int
}

// trunk is the number of the port of one switch towards a neighbour.
func trunk(to int) uint32 { return uint32(100 + to) }

func (d *dumbNet) neighbours(sw int) []int {
	var all []int
	for other := range d.pipelines {
		if other != sw && (sw > 0 && d.parent[sw] == other || other > 0 && d.parent[other] == sw) {
			all = append(all, other)
		}
	}
	return all
}

// enter has a switch deal with a packet that comes in by a port.
func (d *dumbNet) enter(sw int, port uint32, p dumbPacket) {
	if d.hops++; d.hops > 1000 {
		return // a loop: it shows as copies
	}
	p = p.with(fieldNumber(FieldInPort, uint64(port)), fieldNumber(FieldReg0, 0))
	for table := Classify; int(table) < tableCount; {
		flow := d.lookup(sw, table, p)
		p = d.act(sw, p, flow.Actions)
		if flow.Goto == 0 {
			return
		}
		table = flow.Goto
	}
}

// lookup finds the flow: they are sorted by falling priority.
func (d *dumbNet) lookup(sw int, table Table, p dumbPacket) Flow {
	for _, f := range d.pipelines[sw].Flows {
		if f.Table == table && p.matches(f.Match) {
			return f
		}
	}
	return Flow{}
}

func (d *dumbNet) act(sw int, p dumbPacket, actions []Action) dumbPacket {
	for _, action := range actions {
		switch a := action.(type) {
		case SetField:
			p = p.with(a.Field)
		case Output:
			d.output(sw, a.Port, p)
		case ToGroup:
			for _, g := range d.pipelines[sw].Groups {
				for _, bucket := range g.Buckets {
					if g.ID == a.Group {
						d.act(sw, p, bucket.Actions)
					}
				}
			}
		}
	}
	return p
}

func (d *dumbNet) output(sw int, port uint32, p dumbPacket) {
	if port == PortNormal {
		port = d.towards(sw, p[FieldEthDst])
	}
	if port == uint32(Field{Value: p[FieldInPort]}.number()) {
		return
	}
	for _, h := range d.hosts {
		if h.at == sw && h.port == port {
			d.got[fmt.Sprintf("%s for %s", h.name, formatMAC(p[FieldEthDst]))]++
		}
	}
	for _, next := range d.neighbours(sw) {
		if port == trunk(next) {
			d.enter(next, trunk(sw), p)
		}
	}
}

// towards is the port by which a switch reaches a MAC; 0 if nobody has it.
func (d *dumbNet) towards(sw int, mac string) uint32 {
	i := slices.IndexFunc(d.hosts, func(h dumbHost) bool { return string(h.mac[:]) == mac })
	if i < 0 {
		return 0
	}
	if d.hosts[i].at == sw {
		return d.hosts[i].port
	}
	for _, next := range d.neighbours(sw) {
		if d.leads(sw, next, d.hosts[i].at) {
			return trunk(next)
		}
	}
	return 0
}

// leads tells whether the way from one switch by a neighbour ends at another.
func (d *dumbNet) leads(from, by, to int) bool {
	if by == to {
		return true
	}
	return slices.ContainsFunc(d.neighbours(by), func(next int) bool { return next != from && d.leads(by, next, to) })
}

// drawNet draws up to five switches with up to eight hosts.
func drawNet(t *rapid.T, mirror bool) *dumbNet {
	d := &dumbNet{parent: []int{0}}
	for sw := 1; sw < rapid.IntRange(1, 5).Draw(t, "switches"); sw++ {
		d.parent = append(d.parent, rapid.IntRange(0, sw-1).Draw(t, "parent"))
	}
	d.pipelines = make([]Pipeline, len(d.parent))
	for i := range rapid.IntRange(3, 8).Draw(t, "hosts") {
		h := dumbHost{name: fmt.Sprint("c", i), mac: topology.MAC{2, 0, 0, 0, 0, byte(i + 1)}, port: uint32(i + 1),
			at: rapid.IntRange(0, len(d.parent)-1).Draw(t, "switch")}
		if i > 0 && (i == 1 || rapid.Bool().Draw(t, "is a node")) { // at least one of each
			h.name, h.node = fmt.Sprint("n", i), topology.NodeID(i)
			h.fenced = rapid.IntRange(0, 3).Draw(t, "fenced") == 0
		}
		d.hosts = append(d.hosts, h)
	}
	for sw := range d.pipelines {
		d.pipelines[sw] = d.build(sw, mirror)
	}
	return d
}

func (d *dumbNet) build(sw int, mirror bool) Pipeline {
	intent, _ := lab()
	intent.Mirror, intent.Members = mirror, nil
	var ports []Port
	for _, next := range d.neighbours(sw) {
		ports = append(ports, Port{Number: trunk(next), Name: fmt.Sprint("t", next)})
		intent.Trunks = append(intent.Trunks, fmt.Sprint("t", next))
	}
	for _, h := range d.hosts {
		m := Member{ID: h.node, Name: topology.NodeName(h.name), MAC: h.mac}
		if h.at == sw {
			ports = append(ports, Port{Number: h.port, Name: h.name})
			m.Port = h.name
		}
		switch {
		case h.node == 0:
		case h.fenced:
			intent.Fenced = append(intent.Fenced, m)
		default:
			intent.Members = append(intent.Members, m)
		}
	}
	return Build(intent, ports)
}

// nodes gives the nodes but one: members, or all.
func (d *dumbNet) nodes(but dumbHost, fencedToo bool) []dumbHost {
	return slices.DeleteFunc(slices.Clone(d.hosts), func(h dumbHost) bool {
		return h.node == 0 || h.name == but.name || h.fenced && !fencedToo
	})
}

// send gives what the hosts get of a packet.
func (d *dumbNet) send(from dumbHost, p dumbPacket) map[string]int {
	d.got, d.hops = map[string]int{}, 0
	d.enter(from.at, from.port, p.with(fieldMAC(FieldEthSrc, from.mac)))
	return d.got
}

// each is one copy for each host, by its own MAC or another.
func each(hosts []dumbHost, mac ...topology.MAC) map[string]int {
	copies := map[string]int{}
	for _, h := range hosts {
		copies[fmt.Sprintf("%s for %v", h.name, append(mac, h.mac)[0])]++
	}
	return copies
}

// TestWhoGetsWhat: on any tree of switches, each packet reaches those that it is
// meant for, once, and nobody else.
func TestWhoGetsWhat(t *testing.T) {
	intent, _ := lab()
	rapid.Check(t, func(t *rapid.T) {
		mirror := rapid.Bool().Draw(t, "mirror")
		d := drawNet(t, mirror)
		vip := rapid.SampledFrom(intent.VIPs).Draw(t, "vip")
		client := d.hosts[0]
		node := rapid.SampledFrom(d.nodes(dumbHost{}, true)).Draw(t, "node")
		other := rapid.SampledFrom(d.nodes(dumbHost{}, true)).Draw(t, "other node")
		check := func(what string, from dumbHost, p dumbPacket, want map[string]int) {
			if diff := cmp.Diff(want, d.send(from, p)); diff != "" {
				t.Fatalf("%s from %s (-want +got):\n%s", what, from.name, diff)
			}
		}
		tcp := func(flags uint64, dst topology.MAC, ends ...Field) dumbPacket {
			return dumbPacket{}.with(append(ends, fieldNumber(FieldIPProto, protoTCP), fieldNumber(FieldTCPFlags, flags), fieldMAC(FieldEthDst, dst))...)
		}
		outside := netip.MustParseAddr("192.0.2.1")
		if vip.Is6() {
			outside = netip.MustParseAddr("2001:db8::1")
		}
		answer := append(fromVIP(vip), toVIP(outside)[1])
		request := append(toVIP(vip), fromVIP(outside)[1])

		check("SYN", client, tcp(tcpSYN, intent.ClusterMAC, request...), each(d.nodes(dumbHost{}, false)))
		check("SYN by MAC", client, tcp(tcpSYN, node.mac, request...), each(d.nodes(dumbHost{}, false)))
		want := each([]dumbHost{client})
		if mirror {
			maps.Copy(want, each(d.nodes(node, false)))
		}
		check("SYN/ACK", node, tcp(tcpSYN|tcpACK, client.mac, answer...), unless(node.fenced, want))
		check("data", node, tcp(tcpACK, client.mac, answer...), unless(node.fenced, each([]dumbHost{client})))
		check("forged SYN/ACK", client, tcp(tcpSYN|tcpACK, intent.ClusterMAC, answer...), map[string]int{})
		if node.name != other.name {
			check("segment handed on", node, tcp(tcpACK, other.mac, request...), unless(node.fenced || other.fenced, each([]dumbHost{other})))
		}
		broadcast := topology.MAC{255, 255, 255, 255, 255, 255}
		check("frame between nodes", node, dumbPacket{}.with(fieldNumber(FieldEthType, EtherNode), fieldMAC(FieldEthDst, broadcast)),
			each(d.nodes(node, true), broadcast))
	})
}

func unless(dropped bool, want map[string]int) map[string]int {
	if dropped {
		return map[string]int{}
	}
	return want
}

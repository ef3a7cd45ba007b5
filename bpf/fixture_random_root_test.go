// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// primaryOf is the slot table in force, as Go reads it.
func (r *rig) primaryOf(client, vip netip.AddrPort) topology.NodeID {
	var slots onevipOvSlots
	if err := r.f.objs.Slots.Lookup(r.f.globals.Slots, &slots); err != nil {
		panic(err)
	}
	return topology.NodeID(slots.Primary[SlotOf(client, vip)])
}

const (
	randomFrames = 20_000
	randomSeed   = 20_26
)

// Random frames, most of them nearly sound: program and oracle always agree, one
// counter moves, and nothing goes up that has neither a socket nor a cookie.
func TestFixtureRandomFrames(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(randomSeed, 1))
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = []topology.NodeID{rigSelf, rigOther}[rng.IntN(2)]
	}
	r.setSlots(t, table)
	w := r.way()
	w.primary = func(client, vip netip.AddrPort) topology.NodeID { return table[SlotOf(client, vip)].Primary }
	w.listeners = []uint16{webPort}
	r.lookToo(t, w)
	for _, f := range families {
		r.connect(t, f)
		greeting := plainOffer(quietPort)
		greeting.timestamps = true // it leaves an address, and no record
		r.send(t, f.segment(quietPort, greeting.syn()))
		w.live[[2]netip.AddrPort{f.from(), f.to(webPort)}] = true
	}
	seen := map[Reason]int{}
	for i := range randomFrames {
		if i%32 == 0 {
			r.forgetUnheard(t) // there is room for each client that is silent
		}
		f := families[rng.IntN(len(families))]
		frame := randomFrame(rng, f)
		got := r.agree(t, w, frame, skBuff{})
		seen[got.reason]++
		if got.verdict != VerdictReply && !bytes.Equal(got.frame, frame) {
			t.Fatalf("%s changed the frame\nfrom %x\nto   %x", got.reason, frame, got.frame)
		}
	}
	t.Logf("reasons seen: %v", seen)
	for _, reason := range []Reason{ReasonAnswered, ReasonOwn, ReasonAdoptRefused, ReasonResetNoListener, ReasonCookieMismatch, ReasonOwnICMPError, ReasonBadTCPOptions, ReasonTruncated, ReasonMirrored, ReasonUndecided, ReasonHandedOver, ReasonTold, ReasonForeign} {
		if seen[reason] == 0 {
			t.Errorf("no frame got to %s: the generator is too weak", reason)
		}
	}
}

// lookToo adds a service whose requests are looked at, all for the other node.
func (r *rig) lookToo(t *testing.T, w *way) {
	t.Helper()
	look := inspected(testRules())
	look.ID, look.Port, look.Rules.Silent = lookService, lookPort, time.Hour // longer than the test
	vips := look.VIPs
	r.check(r.f.SetServices([]Service{
		{ID: webService, VIPs: vips, Port: webPort, Policy: topology.LeastConnection},
		{ID: quietService, VIPs: vips, Port: quietPort, Policy: topology.LeastConnection}, look,
	}))
	r.setOwner(t, lookService, rigOther)
	w.services, w.inspected = append(w.services, lookPort), []uint16{lookPort}
	w.member, w.memberMAC, w.selfMAC = rigOther, otherMAC, topology.MAC(clusterMAC)
	w.decisions = map[[2]netip.AddrPort]decision{}
}

const (
	lookPort                       = 82
	lookService topology.ServiceID = 2
)

// randomFrame is a sound frame with a few random changes, or noise.
func randomFrame(rng *rand.Rand, f family) []byte {
	frame := soundFrame(rng, f)
	for range rng.IntN(4) {
		frame = mutate(rng, f, frame)
	}
	if missing := 54 - len(frame); missing > 0 {
		frame = append(frame, make([]byte, missing)...) // a test run wants the whole IP header
	}
	return frame
}

func soundFrame(rng *rand.Rand, f family) []byte {
	e := inbound(f.client, f.vip)
	tcp := layers.TCP{
		SrcPort: layers.TCPPort(rng.IntN(1 << 16)), DstPort: randomPort(rng), Window: uint16(rng.Uint32()),
		Seq: rng.Uint32(), Ack: rng.Uint32(), ACK: rng.IntN(2) == 0, RST: rng.IntN(9) == 0, FIN: rng.IntN(9) == 0, PSH: rng.IntN(3) == 0,
	}
	switch rng.IntN(11) {
	case 8, 9:
		return randomInspection(rng, f)
	case 0, 1:
		o := randomOffer(rng)
		syn := o.syn()
		syn.SrcPort, syn.DstPort = tcp.SrcPort, tcp.DstPort
		return e.tcp(syn, nil)
	case 2, 3:
		c := randomOffer(rng).cookie(f, rigSelf, 99+rng.Uint32N(3))
		c.client, c.vip = netip.AddrPortFrom(f.client, uint16(rng.Uint32())), f.to(uint16(randomPort(rng)))
		keys := testKeys(100)
		ack := c.ack([][16]byte{keys.Previous, keys.Current, keys.Next}[c.epoch-99])
		ack.SrcPort, ack.DstPort = layers.TCPPort(c.client.Port()), layers.TCPPort(c.vip.Port())
		return e.tcp(ack, make([]byte, rng.IntN(30)))
	case 4:
		tcp.SrcPort, tcp.DstPort = clientPort, webPort // has a socket
		return e.tcp(tcp, make([]byte, rng.IntN(30)))
	case 5:
		return f.icmp(uint8(rng.IntN(16)), f.quote(uint16(randomPort(rng)), 8+rng.IntN(12)))
	case 6:
		return f.icmp(f.echoType()+uint8(rng.IntN(10)), make([]byte, rng.IntN(60)))
	case 7:
		o := randomOffer(rng)
		c := o.cookie(f, []topology.NodeID{rigSelf, rigOther}[rng.IntN(2)], 100)
		return f.mirrored(webPort, o.synAck(c, testKeys(100).Current, f.ownMSS(), 7))
	}
	return e.tcp(tcp, make([]byte, rng.IntN(100)))
}

// randomInspection is a first segment that names an inspector: from the client, from that
// inspector, or told by it.
func randomInspection(rng *rand.Rand, f family) []byte {
	c := randomOffer(rng).cookie(f, []topology.NodeID{rigSelf, rigOther}[rng.IntN(2)], 100)
	c.client, c.vip = netip.AddrPortFrom(f.client, uint16(rng.IntN(64))), f.to(uint16(randomPort(rng)))
	c.inspect = rng.IntN(6) > 0
	tcp := c.ack(testKeys(100).Current)
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(c.client.Port()), layers.TCPPort(c.vip.Port())
	tcp.FIN, tcp.SYN = rng.IntN(9) == 0, false
	e := inbound(f.client, f.vip)
	if c.owner == rigOther && rng.IntN(4) > 0 {
		e.fromMAC = otherMAC[:]
		tcp.Urgent = (0xc000 | uint16(rigSelf)<<6 | uint16(c.optionBits())) ^ uint16(1<<rng.IntN(24))
		tcp.URG = rng.IntN(9) == 0
		if rng.IntN(3) == 0 {
			tcp.SYN, tcp.FIN = true, false
			tcp.Window = uint16(rng.IntN(3))<<8 | uint16(rigOther)
		}
	}
	return e.tcp(tcp, make([]byte, rng.IntN(3)*20))
}

func randomPort(rng *rand.Rand) layers.TCPPort {
	return []layers.TCPPort{webPort, quietPort, noPort, lookPort}[rng.IntN(4)]
}

func randomOffer(rng *rand.Rand) offer {
	return offer{
		isn: rng.Uint32(), mss: rng.IntN(9000) - 1, wscale: rng.IntN(17) - 1, sack: rng.IntN(2) == 0,
		timestamps: rng.IntN(3) > 0, tsval: rng.Uint32(), ece: rng.IntN(2) == 0, cwr: rng.IntN(2) == 0,
	}
}

// mutate changes a frame in one of the ways in which frames go wrong.
func mutate(rng *rand.Rand, f family, frame []byte) []byte {
	switch rng.IntN(8) {
	case 0:
		return frame[:14+rng.IntN(len(frame)-13)]
	case 1:
		return f.fixShort(frame[:14+rng.IntN(len(frame)-13)])
	case 2:
		return append(frame, make([]byte, 1+rng.IntN(40))...)
	case 3: // noise from somewhere on
		for i := 12 + rng.IntN(len(frame)-12); i < len(frame); i++ {
			frame[i] = byte(rng.Uint32())
		}
	case 4: // noise in the TCP options
		for i := f.l4() + 20; i < len(frame); i++ {
			frame[i] = byte(rng.IntN(12))
		}
	case 5:
		return flip(frame, rng.IntN(len(frame)*8))
	default: // a byte of the headers
		at := 12 + rng.IntN(min(len(frame)-12, 62))
		frame[at] = byte(rng.Uint32())
	}
	return frame
}

// fixShort makes the lengths agree if there is a header to say it in.
func (f family) fixShort(frame []byte) []byte {
	if len(frame) < f.l4() {
		return frame
	}
	return f.fixLengths(frame)
}

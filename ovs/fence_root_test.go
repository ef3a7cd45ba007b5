// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"bytes"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
)

// never is a wait that no test survives: the switch has to tell.
const never = time.Hour

// numbered is a flow of frames, one each millisecond, numbered by their source
// ports. No number is sent before it is counted.
type numbered struct {
	name  string
	from  *ovstest.Tap
	first uint16
	frame func(number uint16) []byte
	last  atomic.Uint32
	got   map[uint16]int // once the receiver has ended
}

func (n *numbered) send(t *testing.T, stop <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for number := n.first; number < n.first+20000; number++ {
		n.last.Store(uint32(number))
		n.from.Send(t, n.frame(number))
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// advance waits until some more were sent.
func (n *numbered) advance(t *testing.T) {
	t.Helper()
	until := n.last.Load() + 20
	ovstest.WaitFor(t, "more of "+n.name, func() bool { return n.last.Load() >= until })
}

// TestFence: with a packet a millisecond in each direction and both families, a
// node is fenced and let in again, many times. Nothing passes that was sent after
// Settle had returned.
func TestFence(t *testing.T) {
	f := newFixture(t)
	s := f.installed(t)
	client, n1, n2 := f.client.Tap(t), f.members[0].Tap(t), f.members[1].Tap(t)
	mac1, mac2 := f.members[0].MAC, f.members[1].MAC
	teach(t, f.members[2].Tap(t), map[*ovstest.Tap]net.HardwareAddr{client: f.client.MAC, n1: mac1})

	vipOf := func(number uint16) netip.Addr { return []netip.Addr{vip4, vip6}[number%2] }
	toVIP := func(src, dst net.HardwareAddr) func(uint16) []byte {
		return func(number uint16) []byte {
			return tcpFrame(t, src, dst, outsideOf(vipOf(number)), vipOf(number), number)
		}
	}
	answer := func(number uint16) []byte {
		vip := vipOf(number)
		return segment(t, mac1, f.client.MAC, vip, outsideOf(vip), &layers.TCP{SrcPort: layers.TCPPort(number), ACK: true})
	}
	toNode := []*numbered{
		{name: "from the client", from: client, first: 1000, frame: toVIP(f.client.MAC, clusterMAC[:])},
		{name: "handed on to the node", from: n2, first: 21000, frame: toVIP(mac2, mac1)},
	}
	toClient := []*numbered{{name: "to the client", from: n1, first: 1000, frame: answer}}
	toOther := []*numbered{{name: "handed on by the node", from: n1, first: 41000, frame: toVIP(mac1, mac2)}}
	f.fenceAndLift(t, s, map[*ovstest.Tap][]*numbered{n1: toNode, client: toClient, n2: toOther})
	t.Run("in force", func(t *testing.T) { testFenced(t, f, s) })
}

// fenceAndLift sends the flows to their receivers and fences n1 meanwhile.
func (f *fixture) fenceAndLift(t *testing.T, s *ovs.Session, receivers map[*ovstest.Tap][]*numbered) {
	t.Helper()
	stop := make(chan struct{})
	var sending, receiving sync.WaitGroup
	var all []*numbered
	for tap, flows := range receivers {
		receiving.Go(func() {
			got := collect(tap)
			for _, n := range flows {
				n.got = got
			}
		})
		for _, n := range flows {
			sending.Go(func() { n.send(t, stop) })
		}
		all = append(all, flows...)
	}
	var dead []map[*numbered][2]uint32 // what was sent while n1 was fenced, both ends exclusive
	for range 10 {
		dead = append(dead, f.fenceOnce(t, s, all))
	}
	close(stop)
	sending.Wait()
	f.endStreams(t)
	receiving.Wait()
	for _, n := range all {
		n.check(t, dead)
	}
}

func (f *fixture) fenceOnce(t *testing.T, s *ovs.Session, all []*numbered) map[*numbered][2]uint32 {
	t.Helper()
	for _, n := range all {
		n.advance(t)
	}
	f.fence(t, s)
	span := make(map[*numbered][2]uint32)
	for _, n := range all {
		span[n] = [2]uint32{n.last.Load()}
	}
	for _, n := range all {
		n.advance(t)
		span[n] = [2]uint32{span[n][0], n.last.Load()}
	}
	// What waits in a port when the fence is lifted passes, though sent before. The
	// thread that answers barriers empties the ports, one time between two.
	for range 3 {
		if err := s.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, f, s)
	return span
}

// fence has n1 fenced, for sure.
func (f *fixture) fence(t *testing.T, s *ovs.Session) {
	t.Helper()
	intent := f.intent()
	intent.Fenced = intent.Members[:1]
	if _, err := s.Apply(t.Context(), ovs.Build(intent, s.Ports())); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(t.Context(), f.sw.DB, never); err != nil {
		t.Fatal(err)
	}
}

// endStreams tells client, n1 and n2 that nothing more comes.
func (f *fixture) endStreams(t *testing.T) {
	t.Helper()
	n3 := f.members[2]
	n3.Tap(t).Send(t, tcpFrame(t, n3.MAC, broadcast, nowhere, nowhere, endOfStream))
}

func (n *numbered) check(t *testing.T, dead []map[*numbered][2]uint32) {
	t.Helper()
	fenced, passed, leaked := 0, 0, 0
	for _, spans := range dead {
		for number := spans[n][0] + 1; number < spans[n][1]; number++ {
			fenced++
			leaked += n.got[uint16(number)]
		}
	}
	for number := uint32(n.first); number <= n.last.Load(); number++ {
		passed += n.got[uint16(number)]
	}
	t.Logf("%s: %d sent, %d of them to a fence in force; %d passed", n.name, n.last.Load()+1-uint32(n.first), fenced, passed)
	if leaked > 0 || fenced == 0 || passed == 0 {
		t.Errorf("%s: %d of %d passed the fence, %d passed in all", n.name, leaked, fenced, passed)
	}
}

// testFenced: what concerns no client passes the fence, both ways; what it drops
// is counted under the node's id.
func testFenced(t *testing.T, f *fixture, s *ovs.Session) {
	f.fence(t, s)
	client, n1, n2 := f.client.Tap(t), f.members[0].Tap(t), f.members[1].Tap(t)
	mac1, mac2 := f.members[0].MAC, f.members[1].MAC
	nodeFrame := func(src, dst net.HardwareAddr, content byte) []byte {
		return append(frame(t, &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: ovs.EtherNode}),
			bytes.Repeat([]byte{content}, 60)...)
	}
	for _, tt := range []struct {
		name     string
		from, to *ovstest.Tap
		frame    []byte
	}{
		{"its heartbeat", n1, n2, nodeFrame(mac1, broadcast, 1)},
		{"its answer", n1, n2, nodeFrame(mac1, mac2, 2)},
		{"a heartbeat", n2, n1, nodeFrame(mac2, broadcast, 3)},
		{"a question", n2, n1, nodeFrame(mac2, mac1, 4)},
		{"its own address", n1, client, tcpFrame(t, mac1, f.client.MAC, netip.MustParseAddr("10.77.2.1"), outside4, 4001)},
		{"to its own address", client, n1, tcpFrame(t, f.client.MAC, mac1, outside4, netip.MustParseAddr("10.77.2.1"), 4002)},
	} {
		tt.from.Send(t, tt.frame)
		if _, err := tt.to.Next(within, func(b []byte) bool { return bytes.Equal(b, tt.frame) }); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}

	for _, vip := range []netip.Addr{vip4, vip6} {
		n1.Send(t, synACK(t, mac1, f.client.MAC, vip))
		n1.Send(t, tcpFrame(t, mac1, clusterMAC[:], outsideOf(vip), vip, 4003))
		n2.Send(t, tcpFrame(t, mac2, mac1, outsideOf(vip), vip, 4003))
	}
	counted := regexp.MustCompile(`n_packets=[1-9]`)
	ovstest.WaitFor(t, "all flows of the fence to count", func() bool {
		f.sw.Appctl(t, "revalidator/purge")
		dump := lines(f.sw.Ofctl(t, "--names", "dump-flows", "br0", "cookie=0x1e7700000f000001/0xffff0000ff0000ff"))
		return len(dump) == 6 && len(counted.FindAllString(strings.Join(dump, "\n"), -1)) == 6
	})
	// However many clients it answers, dropping that takes one datapath flow.
	for i := range 200 {
		to := host(netip.MustParsePrefix("198.51.100.0/24"), i)
		n1.Send(t, segment(t, mac1, f.client.MAC, vip4, to, &layers.TCP{SrcPort: layers.TCPPort(5000 + i), ACK: true}))
	}
	last := nodeFrame(mac1, broadcast, 5)
	n1.Send(t, last)
	if _, err := n2.Next(within, func(b []byte) bool { return bytes.Equal(b, last) }); err != nil {
		t.Fatal(err)
	}
	checkMegaflows(t, f, "src="+vip4.String()+",", 1)
	if drops, err := s.Drops(t.Context()); err != nil || drops[ovs.KindFenced] == 0 {
		t.Errorf("drops %v, error %v", drops, err)
	}
}

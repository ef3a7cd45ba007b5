// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/onevip/onevip/topology"
)

// rig is one node's program, attached to nothing, in a network namespace of its
// own: a frame goes in by BPF_PROG_TEST_RUN, and verdict, reason and frame come
// out. VIPs and clients are all on lo, so that sockets can be real.
type rig struct {
	*host
	f       *Filter
	ifindex uint32
	// peer hears what the program sends beside its verdict.
	peer *packet.Conn
}

// The cast of a rig. Its own node answers all slots, and names the other.
const (
	rigSelf  topology.NodeID = 7
	rigOther topology.NodeID = 9

	webPort   = 80 // a service with a listener
	quietPort = 81 // a service without one
	noPort    = 99 // no service

	quietService topology.ServiceID = 1
)

var otherMAC = topology.MAC{0x02, 0, 0x5e, 0, 2, 9}

func newRig(t *testing.T) *rig {
	t.Helper()
	needRoot(t)
	r := &rig{host: newHost(t, "rig")}
	r.enter(t)
	r.addLinks(t)
	for _, a := range []netip.Addr{vip4, client4, vip6, client6} {
		r.address("lo", netip.PrefixFrom(a, a.BitLen()).String())
	}
	for _, conf := range []string{"all", "t0", "lo"} {
		r.sysctl("net/ipv4/conf/"+conf+"/rp_filter", "0")
	}
	f, err := loadUnpinned(Options{Services: 8, SYNRecords: 4096, Tombstones: 4096, Unheard: 64, NoticeBytes: uint32(os.Getpagesize())}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r.f = f
	copy(f.config.Mac[:], clusterMAC)
	r.configure(t)
	return r
}

// enter moves the calling goroutine's thread into the rig's namespace for good:
// BPF_PROG_TEST_RUN looks for sockets in that of its caller. Subtests call it too.
func (r *rig) enter(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := netns.Set(r.ns); err != nil {
		t.Fatal(err)
	}
}

// run is t.Run inside the rig's namespace.
func (r *rig) run(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		r.enter(t)
		test(t)
	})
}

func (r *rig) addLinks(t *testing.T) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = "t0", clusterMAC
	r.check(r.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "t1"}))
	for _, name := range []string{"t0", "t1"} {
		r.sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
		r.up(name)
	}
	iface, err := net.InterfaceByName("t1")
	r.check(err)
	r.peer, err = packet.Listen(iface, packet.Raw, 0x0003, nil) // ETH_P_ALL
	r.check(err)
	t.Cleanup(func() { r.peer.Close() })
	r.ifindex = uint32(r.link("t0").Attrs().Index)
}

func (r *rig) configure(t *testing.T) {
	t.Helper()
	vips := []netip.Addr{vip4, vip6}
	r.check(r.f.SetSelf(Self{ID: rigSelf, WindowScale: 7}))
	r.check(r.f.SetCookieKeys(testKeys(100)))
	r.check(r.f.SetServices([]Service{
		{ID: webService, VIPs: vips, Port: webPort, Policy: topology.LeastConnection},
		{ID: quietService, VIPs: vips, Port: quietPort, Policy: topology.LeastConnection},
	}))
	r.check(r.f.SetMembers(map[topology.NodeID]topology.MAC{rigOther: otherMAC}))
	r.setPrimary(t, rigSelf)
	for _, id := range []topology.ServiceID{webService, quietService} {
		r.setOwner(t, id, rigOther)
	}
}

// setPrimary gives all slots to one node.
func (r *rig) setPrimary(t *testing.T, id topology.NodeID) {
	t.Helper()
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = id
	}
	if err := r.f.SetSlots(table); err != nil {
		t.Fatal(err)
	}
}

// setOwner lets only these nodes be picked.
func (r *rig) setOwner(t *testing.T, service topology.ServiceID, ids ...topology.NodeID) {
	t.Helper()
	var loads []Load
	for _, id := range ids {
		loads = append(loads, Load{Node: id, Weight: 1})
	}
	if err := r.f.SetLoads(service, loads); err != nil {
		t.Fatal(err)
	}
}

// outcome is what became of one frame.
type outcome struct {
	reason  Reason
	verdict Verdict
	frame   []byte
}

// skBuff is the beginning of struct __sk_buff, which BPF_PROG_TEST_RUN takes.
type skBuff struct {
	_       [2]uint32
	Mark    uint32
	_       [7]uint32
	Ifindex uint32
}

// verdicts by the number that the program returns.
var verdicts = map[int32]Verdict{-1: VerdictPass, 2: VerdictDrop, 7: VerdictReply}

// send runs the program on one frame, and insists that it counted itself
// exactly once, under a reason that goes with its verdict.
func (r *rig) send(t testing.TB, frame []byte) outcome {
	t.Helper()
	return r.sendAs(t, frame, skBuff{Ifindex: r.ifindex})
}

func (r *rig) sendAs(t testing.TB, frame []byte, skb skBuff) outcome {
	t.Helper()
	before := r.counters(t)
	run := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: skb}
	ret, err := r.f.objs.OnevipIngress.Run(run)
	if err != nil {
		t.Fatalf("run the program on %d bytes %x: %v", len(frame), frame, err)
	}
	after := r.counters(t)
	got := outcome{reason: reasonCount, verdict: verdicts[int32(ret)], frame: run.DataOut}
	for reason := range after {
		if after[reason] == before[reason] || Reason(reason).Verdict() == VerdictBeside {
			continue
		}
		if got.reason != reasonCount || after[reason] != before[reason]+1 {
			t.Fatalf("more than one count: %s and %s, frame %x", got.reason, Reason(reason), frame)
		}
		got.reason = Reason(reason)
	}
	if got.reason == reasonCount {
		t.Fatalf("returned %d and counted no reason, frame %x", int32(ret), frame)
	}
	if got.verdict != got.reason.Verdict() {
		t.Fatalf("returned %d for reason %s, which means %s, frame %x", int32(ret), got.reason, got.reason.Verdict(), frame)
	}
	return got
}

func (r *rig) counters(t testing.TB) (all [reasonCount]uint64) {
	t.Helper()
	for _, reason := range Reasons() {
		n, err := r.f.reason(reason)
		if err != nil {
			t.Fatal(err)
		}
		all[reason] = n
	}
	return all
}

// expect sends a frame that must leave for this reason.
func (r *rig) expect(t testing.TB, frame []byte, want Reason) outcome {
	t.Helper()
	got := r.send(t, frame)
	if got.reason != want {
		t.Fatalf("reason %s, want %s, frame %x", got.reason, want, frame)
	}
	return got
}

// heard waits for a frame that the program sent beside its verdict; nil if there
// is none.
func (r *rig) heard(t testing.TB, want func([]byte) bool) []byte {
	t.Helper()
	if err := r.peer.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 2048)
	for {
		n, _, err := r.peer.ReadFrom(frame)
		if err != nil {
			return nil
		}
		if want(frame[:n]) {
			return frame[:n]
		}
	}
}

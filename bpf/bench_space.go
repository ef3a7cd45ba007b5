// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// The world of a measurement: one node in a namespace, with the VIPs on lo and
// a client behind the other end of a veth pair, who is only a packet socket.
var (
	benchNodeMAC   = net.HardwareAddr{0x02, 0, 0x5e, 0, 0, 1}
	benchClientMAC = net.HardwareAddr{0x02, 0, 0x5e, 0, 1, 1}
	benchFamilies  = []benchFamily{
		{client: netip.MustParseAddr("10.77.1.1"), vip: netip.MustParseAddr("10.77.0.1")},
		{client: netip.MustParseAddr("fd77::1:1"), vip: netip.MustParseAddr("fd77::1")},
	}
)

const (
	benchPort                        = 80
	benchSelf     topology.NodeID    = 1
	benchService  topology.ServiceID = 0
	benchNodeLink                    = "node"
	benchPeerLink                    = "client"
)

// benchFamily is who talks to whom in one IP version.
type benchFamily struct{ client, vip netip.Addr }

// benchmark holds what the measurements share.
type benchmark struct {
	opts    BenchOptions
	steps   int // of progress, done
	total   int
	f       *Filter
	tools   *benchTools
	ingress link.Link
	client  *packet.Conn
	open    []io.Closer
	// flows are the connections that the node has sockets of, by family.
	flows [2][]benchFlow
}

// newBench moves the calling thread, which must be locked, into a new namespace.
func newBench(opts BenchOptions) (b *benchmark, err error) {
	b = &benchmark{opts: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	ns, err := netns.New()
	if err != nil {
		return b, fmt.Errorf("make a network namespace (needs root): %w", err)
	}
	b.keep(closerFunc(ns.Close))
	if err := b.addLinks(); err != nil {
		return b, err
	}
	if err := b.load(); err != nil {
		return b, err
	}
	for _, fam := range benchFamilies {
		if err := b.listen(fam.vip, 2*opts.Sockets); err != nil {
			return b, err
		}
	}
	return b, nil
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

func (b *benchmark) keep(c io.Closer) { b.open = append(b.open, c) }

func (b *benchmark) close() error {
	var errs []error
	for i := len(b.open) - 1; i >= 0; i-- {
		errs = append(errs, b.open[i].Close())
	}
	b.open = nil
	return errors.Join(errs...)
}

func (b *benchmark) addLinks() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = benchNodeLink, benchNodeMAC
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: benchPeerLink, PeerHardwareAddr: benchClientMAC}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	for name, value := range map[string]string{
		"ipv4/conf/all/rp_filter": "0", "ipv4/conf/" + benchNodeLink + "/rp_filter": "0",
		"ipv6/conf/" + benchPeerLink + "/disable_ipv6": "1", "ipv6/conf/all/accept_dad": "0",
		"ipv6/conf/" + benchNodeLink + "/accept_dad": "0", "ipv6/conf/" + benchNodeLink + "/router_solicitations": "0",
		"ipv4/tcp_syncookies": "1",
	} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	for _, name := range []string{"lo", benchPeerLink, benchNodeLink} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
	}
	for _, fam := range benchFamilies {
		if err := fam.addAddresses(); err != nil {
			return err
		}
	}
	return nil
}

// addAddresses gives lo the VIP, and the way to the clients to the interface.
func (fam benchFamily) addAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	node, err := netlink.LinkByName(benchNodeLink)
	if err != nil {
		return fmt.Errorf("find %s: %w", benchNodeLink, err)
	}
	host := net.CIDRMask(fam.vip.BitLen(), fam.vip.BitLen())
	vip := &net.IPNet{IP: fam.vip.AsSlice(), Mask: host}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: vip, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("put %s on lo: %w", fam.vip, err)
	}
	client := &net.IPNet{IP: fam.client.AsSlice(), Mask: host}
	route := &netlink.Route{LinkIndex: node.Attrs().Index, Dst: client, Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add a route to %s: %w", fam.client, err)
	}
	neighbor := &netlink.Neigh{
		LinkIndex: node.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: fam.client.AsSlice(), HardwareAddr: benchClientMAC,
	}
	if err := netlink.NeighSet(neighbor); err != nil {
		return fmt.Errorf("tell where %s is: %w", fam.client, err)
	}
	return nil
}

// load loads the programs and attaches the filter to the node's interface.
func (b *benchmark) load() error {
	f, err := loadUnpinned(Options{}, 1500)
	if err != nil {
		return err
	}
	b.f = f
	b.keep(f)
	copy(f.config.Mac[:], benchNodeMAC)
	if b.tools, err = loadTools(f); err != nil {
		return err
	}
	b.keep(b.tools)
	if err := b.configure(); err != nil {
		return err
	}
	node, err := net.InterfaceByName(benchNodeLink)
	if err != nil {
		return fmt.Errorf("find %s: %w", benchNodeLink, err)
	}
	b.ingress, err = link.AttachTCX(link.TCXOptions{
		Interface: node.Index, Program: f.objs.OnevipIngress, Attach: ebpf.AttachTCXIngress,
	})
	if err != nil {
		return fmt.Errorf("attach to tcx ingress: %w", err)
	}
	b.keep(b.ingress)
	peer, err := net.InterfaceByName(benchPeerLink)
	if err != nil {
		return fmt.Errorf("find %s: %w", benchPeerLink, err)
	}
	b.client, err = packet.Listen(peer, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	b.keep(b.client)
	return nil
}

// configure makes the node primary of all slots, and the only one to pick.
func (b *benchmark) configure() error {
	table := make([]Slot, topology.SlotCount)
	for i := range table {
		table[i].Primary = benchSelf
	}
	keys := CookieKeys{Epoch: 1, Previous: [16]byte{1}, Current: [16]byte{2}, Next: [16]byte{3}, Lifetime: 120e9}
	return errors.Join(
		b.f.SetSelf(Self{ID: benchSelf, WindowScale: 7}),
		b.f.SetSlots(table),
		b.f.SetCookieKeys(keys),
		b.setPolicy(topology.LeastConnection),
		b.setNodes(1),
	)
}

// setPolicy has requests looked at, or not. No node is ever too loaded for its key's.
func (b *benchmark) setPolicy(policy topology.Policy) error {
	return b.f.SetServices([]Service{{
		ID: benchService, VIPs: []netip.Addr{benchFamilies[0].vip, benchFamilies[1].vip},
		Port: benchPort, Policy: policy,
		Rules: Rules{Key: "path", Low: 1 << 30, High: 1 << 30, Decay: time.Second, Bound: 2, Silent: time.Second},
	}})
}

// setNodes lets n nodes be picked, ourselves first.
func (b *benchmark) setNodes(n int) error {
	loads := make([]Load, n)
	for i := range loads {
		loads[i] = Load{Node: topology.NodeID(i + 1), Weight: 1}
	}
	return b.f.SetLoads(benchService, loads)
}

// listen opens a plain TCP listener that nobody accepts from: the sockets stay
// in its queue, where lookups find them all the same.
func (b *benchmark) listen(vip netip.Addr, backlog int) error {
	if err := os.WriteFile("/proc/sys/net/core/somaxconn", fmt.Append(nil, backlog), 0o644); err != nil {
		return fmt.Errorf("set somaxconn: %w", err)
	}
	family, addr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: benchPort, Addr: vip.As16()})
	if vip.Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Port: benchPort, Addr: vip.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	b.keep(closerFunc(func() error { return unix.Close(fd) }))
	if err := unix.Bind(fd, addr); err != nil {
		return fmt.Errorf("bind to %s: %w", vip, err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return fmt.Errorf("listen on %s: %w", vip, err)
	}
	return nil
}

// step tells the progress, and ends the measurement with the context.
func (b *benchmark) step() {
	b.steps++
	b.opts.Progress(b.steps, b.total)
}

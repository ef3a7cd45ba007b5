// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// cluster is nodes and a client on a Linux bridge that floods: all nodes have
// the cluster MAC on their interface, and the bridge learns nothing. There is no
// switch, no agent and no controller: only the packet's way.
type cluster struct {
	root   testing.TB // whose end is the cluster's
	t      testing.TB // of the story at hand
	fabric *host
	client *host
	nodes  []*node
	raw    *packet.Conn // of all raw clients; see newRawClient
	ports  uint16       // handed out to raw clients
	before tally        // what the counters were when the story began
}

// tally is the sum of the nodes' counters.
type tally struct {
	adopted uint64
	active  int64
	reasons [reasonCount]uint64
}

type node struct {
	*host
	id       topology.NodeID
	filter   *Filter
	listener net.Listener
}

var (
	clusterMAC = mustMAC("02:00:5e:00:00:01")
	clientMAC  = mustMAC("02:00:5e:00:01:01")
	vip4       = netip.MustParseAddr("10.77.0.1")
	vip6       = netip.MustParseAddr("fd77::1")
	client4    = netip.MustParseAddr("10.77.1.1")
	client6    = netip.MustParseAddr("fd77::1:1")
)

const webService topology.ServiceID = 0

func newCluster(t testing.TB, nodes int) *cluster {
	t.Helper()
	needRoot(t)
	c := &cluster{root: t, t: t, fabric: newHost(t, "fabric"), client: newHost(t, "client")}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "fabric0"
	c.fabric.check(c.fabric.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	c.fabric.up("fabric0")
	c.plug(c.client, clientMAC, "client")
	c.addressClient()
	for i := range nodes {
		c.addNode(topology.NodeID(i + 1))
	}
	c.share(topology.LeastConnection)
	return c
}

func (c *cluster) addressClient() {
	c.client.address("eth0", client4.String()+"/16")
	c.client.address("eth0", client6.String()+"/64")
	c.client.neighbor("eth0", vip4.String(), clusterMAC)
	c.client.neighbor("eth0", vip6.String(), clusterMAC)
}

func (c *cluster) plug(h *host, mac net.HardwareAddr, port string) {
	c.t.Helper()
	wire(h, "eth0", mac, c.fabric, port)
	l := c.fabric.link(port)
	c.fabric.check(c.fabric.nl.LinkSetMaster(l, c.fabric.link("fabric0")))
	c.fabric.check(c.fabric.nl.LinkSetLearning(l, false))
	c.fabric.up(port)
	h.up("eth0")
	waitFor(c.t, port+" forwards", func() bool {
		return c.fabric.link(port).Attrs().OperState == netlink.OperUp
	})
}

// waitFor polls a condition, and fails the test after five seconds.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// deafen makes the fabric keep flooded packets from a node, or not any more.
func (c *cluster) deafen(n *node, deaf bool) {
	c.t.Helper()
	c.fabric.check(c.fabric.nl.LinkSetFlood(c.fabric.link(n.name), !deaf))
}

func (c *cluster) addNode(id topology.NodeID) {
	c.t.Helper()
	n := &node{host: newHost(c.t, fmt.Sprintf("n%d", id)), id: id}
	c.plug(n.host, clusterMAC, n.name)
	c.setUpNode(n)
}

// setUpNode does what the agent does, and opens the filter.
func (c *cluster) setUpNode(n *node) {
	c.t.Helper()
	n.address("eth0", fmt.Sprintf("10.77.0.%d/16", 10+n.id))
	n.address("eth0", fmt.Sprintf("fd77::%d/64", 10+n.id))
	n.address("lo", vip4.String()+"/32")
	n.address("lo", vip6.String()+"/128")
	n.neighbor("eth0", client4.String(), clientMAC)
	n.neighbor("eth0", client6.String(), clientMAC)
	for _, conf := range []string{"all", "eth0", "lo"} {
		n.sysctl("net/ipv4/conf/"+conf+"/rp_filter", "0")
	}
	n.filter = openFilter(c.t, n.host, n.name)
	n.check(n.filter.SetSelf(Self{ID: n.id, WindowScale: 7}))
	n.check(n.filter.SetServices([]Service{{ID: webService, VIPs: []netip.Addr{vip4, vip6}, Port: 80, Policy: topology.LeastConnection}}))
	n.check(n.filter.SetCookieKeys(testKeys(100)))
	c.nodes = append(c.nodes, n)
}

// openFilter pins under a folder of this process and takes it away at the end.
func openFilter(t testing.TB, h *host, name string) *Filter {
	t.Helper()
	mountBPF(t)
	dir := filepath.Join("/sys/fs/bpf", fmt.Sprintf("onevip-test-%d", os.Getpid()), fmt.Sprintf("%s-%d", name, time.Now().UnixNano()))
	t.Cleanup(func() {
		if err := RemovePins(dir); err != nil {
			t.Error(err)
		}
		_ = os.Remove(filepath.Dir(dir)) // fails as long as other nodes have pins there
	})
	var f *Filter
	var err error
	h.do(func() { f, err = Open(Options{PinDir: dir, Interface: "eth0", Tombstones: 16384, SYNRecords: 8192}) })
	h.check(err)
	t.Cleanup(func() { f.Close() })
	return f
}

func mountBPF(t testing.TB) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &fs); err == nil && fs.Type == unix.BPF_FS_MAGIC {
		return
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		t.Skipf("no BPF file system: %v", err)
	}
}

func testKeys(epoch uint32) CookieKeys {
	key := func(epoch uint32) (k [16]byte) {
		for i := range k {
			k[i] = byte(epoch) + byte(i)
		}
		return k
	}
	return CookieKeys{Epoch: epoch, Previous: key(epoch - 1), Current: key(epoch), Next: key(epoch + 1), Lifetime: 2 * time.Minute}
}

// share spreads the slots over the nodes, and lets all be picked.
func (c *cluster) share(policy topology.Policy) {
	c.t.Helper()
	table := make([]Slot, topology.SlotCount)
	var loads []Load
	for i := range table {
		table[i].Primary = c.nodes[i%len(c.nodes)].id
	}
	for _, n := range c.nodes {
		loads = append(loads, Load{Node: n.id, Weight: 1})
	}
	for _, n := range c.nodes {
		n.check(n.filter.SetSlots(table))
		n.check(n.filter.SetLoads(webService, loads))
	}
}

// serve answers every line with the node's name and keeps the connection open.
func (n *node) serve() { n.listen(false) }

// serveAndClose closes after the first answer: TIME_WAIT is on this side.
func (n *node) serveAndClose() { n.listen(true) }

func (n *node) listen(closeFirst bool) {
	n.t.Helper()
	var l net.Listener
	var err error
	n.do(func() {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(context.Background(), "tcp", ":80")
	})
	n.check(err)
	n.listener = l
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go n.answer(conn, closeFirst)
		}
	}()
}

func (n *node) answer(conn net.Conn, closeFirst bool) {
	defer conn.Close()
	one := make([]byte, 1)
	for {
		if _, err := conn.Read(one); err != nil {
			return
		}
		if one[0] != '\n' {
			continue
		}
		if _, err := fmt.Fprintf(conn, "%s\n", n.name); err != nil || closeFirst {
			return
		}
	}
}

// dial connects from the client, from port if it is not 0.
func (c *cluster) dial(vip netip.Addr, port int) (net.Conn, error) {
	from := client4
	if vip.Is6() {
		from = client6
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(port)))
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		})
	}
	d.SetMultipathTCP(false)
	var conn net.Conn
	var err error
	c.client.do(func() { conn, err = d.Dial("tcp", netip.AddrPortFrom(vip, 80).String()) })
	return conn, err
}

// ask sends a line and reads one: the name of the node that answers.
func ask(conn net.Conn) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "who\n"); err != nil {
		return "", err
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	return string(buf[:max(n-1, 0)]), err
}

func (c *cluster) count() (sum tally) {
	c.t.Helper()
	for _, n := range c.nodes {
		counts, err := n.filter.Counts(webService)
		n.check(err)
		for _, k := range counts.Adopted {
			sum.adopted += k
		}
		sum.active += int64(counts.Active)
		for _, r := range Reasons() {
			sum.reasons[r] += n.reason(r)
		}
	}
	return sum
}

// begin starts a story: adopted, active and reasons count from here.
func (c *cluster) begin() { c.before = c.count() }

func (c *cluster) adopted() uint64 { return c.count().adopted - c.before.adopted }

func (c *cluster) active() int64 { return c.count().active - c.before.active }

func (c *cluster) reasons(r Reason) uint64 { return c.count().reasons[r] - c.before.reasons[r] }

func (n *node) reason(r Reason) uint64 {
	n.t.Helper()
	k, err := n.filter.reason(r)
	n.check(err)
	return k
}

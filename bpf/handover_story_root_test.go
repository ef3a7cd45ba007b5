// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// serveRequests answers each request, up to an empty line, with the node's name and a
// digest of what was asked, byte by byte.
func (n *node) serveRequests(closeFirst bool) {
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
			go n.answerRequests(conn, closeFirst)
		}
	}()
}

func (n *node) answerRequests(conn net.Conn, closeFirst bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	request := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if request += line; line != "\r\n" {
			continue
		}
		if _, err := fmt.Fprintln(conn, n.name, digest(request)); err != nil || closeFirst {
			return
		}
		request = ""
	}
}

func digest(request string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(request))) }

// request is one for a path, with some bytes more.
func request(path, filler string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: cats\r\nX-Filler: %s\r\n\r\n", path, filler)
}

// ask sends the request in these pieces, and gives who answered it.
func askInPieces(conn net.Conn, text string, cuts ...int) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	at := 0
	for _, cut := range append(cuts, len(text)) {
		if _, err := io.WriteString(conn, text[at:cut]); err != nil {
			return "", err
		}
		at = cut
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	name, sum, _ := strings.Cut(strings.TrimSpace(answer), " ")
	if err == nil && sum != digest(text) {
		err = fmt.Errorf("%s got another request than was sent", name)
	}
	return name, err
}

// newInspectedCluster is four nodes that serve requests, each an inspector of its slots.
func newInspectedCluster(t testing.TB, timestamps string, closeFirst bool) *cluster {
	t.Helper()
	c := newCluster(t, 4)
	c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
	for _, n := range c.nodes {
		n.serveRequests(closeFirst)
	}
	rules := testRules()
	rules.Low, rules.High = 1000, 2000 // nobody tells here that what was assigned has settled
	c.inspectCluster(rules)
	c.idle()
	c.home(c.nodes[3])
	c.begin()
	return c
}

// impair has one in twenty frames to a node lost, each copy of a flood by itself, and as
// many doubled.
func (c *cluster) impair() {
	c.t.Helper()
	for _, n := range c.nodes {
		port := c.fabric.link(n.name).Attrs().Index
		c.onEgress(port, asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.FnGetPrandomU32.Call(),
			asm.Mod.Imm(asm.R0, 20),
			asm.JEq.Imm(asm.R0, 0, "drop"),
			asm.JNE.Imm(asm.R0, 1, "next"),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, int32(port)),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnCloneRedirect.Call(),
			asm.Mov.Imm(asm.R0, -1).WithSymbol("next"), // TCX_NEXT
			asm.Return(),
			asm.Mov.Imm(asm.R0, 2).WithSymbol("drop"), // TCX_DROP
			asm.Return(),
		})
	}
}

// Requests in random pieces, over a bad path, each on a connection of its own: byte-exact
// answers, and one owner each.
func TestInspectedRequestsOverABadPath(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newInspectedCluster(t, timestamps, false)
			c.impair()
			const workers, each = 8, 15
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(uint64(w), 7))
					for range each {
						if err := c.oneRequest(random); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if got := c.adopted(); got != workers*each {
				t.Errorf("adopted %d connections, want %d\n%s", got, workers*each, c.explain())
			}
			c.expectOneOwner()
			if c.reasons(ReasonHandedOver) == 0 || c.reasons(ReasonFollowed) == 0 {
				t.Errorf("nothing was handed over, or followed: the test tests less than it says\n%s", c.explain())
			}
		})
	}
}

func (c *cluster) oneRequest(random *rand.Rand) error {
	vip := []netip.Addr{vip4, vip6}[random.IntN(2)]
	conn, err := c.dial(vip, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	text := request(fmt.Sprintf("/%d", random.IntN(50)), strings.Repeat("x", random.IntN(3000)))
	a, b := random.IntN(len(text)), random.IntN(len(text))
	name, err := askInPieces(conn, text, min(a, b), max(a, b))
	if err != nil {
		return err
	}
	again, err := askInPieces(conn, text) // keep-alive: it stays where it is
	if err == nil && again != name {
		err = fmt.Errorf("answered by %s, then by %s", name, again)
	}
	return err
}

// Whole requests without trouble: all to the home of their key.
func TestInspectedRequestsGoHome(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newInspectedCluster(t, timestamps, false)
			const total = 60
			for i := range total {
				conn, err := c.dial([]netip.Addr{vip4, vip6}[i%2], 0)
				if err != nil {
					t.Fatalf("%v\n%s", err, c.explain())
				}
				name, err := askInPieces(conn, request("/cat", ""))
				if err != nil || name != "n4" {
					t.Fatalf("connection %d: answered by %q, %v; want n4\n%s", i, name, err, c.explain())
				}
				conn.Close()
			}
			if got := c.adopted(); got != total {
				t.Errorf("adopted %d, want %d\n%s", got, total, c.explain())
			}
			c.expectOneOwner()
		})
	}
}

// Tuples in TIME_WAIT at their owners, which are other ones each time.
func TestInspectedTupleInTimeWait(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newInspectedCluster(t, timestamps, true)
			const rounds, ports = 8, 15
			for i := range rounds * ports {
				c.home(c.nodes[i/ports*3%4])
				conn, err := c.dial(vip4, 50000+i%ports)
				if err != nil {
					t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
				}
				if _, err := askInPieces(conn, request(fmt.Sprintf("/%d", i), "")); err != nil {
					t.Fatalf("connection %d: %v\n%s", i, err, c.explain())
				}
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("connection %d: the server should have closed: %v", i, err)
				}
				conn.Close()
			}
			if got := c.adopted(); got != rounds*ports {
				t.Errorf("adopted %d, want %d\n%s", got, rounds*ports, c.explain())
			}
			if c.reasons(ReasonReuseTimeWait) == 0 {
				t.Error("no TIME_WAIT was met: the test tests nothing")
			}
			c.expectOneOwner()
		})
	}
}

// The owner's accept queue is full: what is handed over comes again until there is room.
func TestInspectedFullAcceptQueue(t *testing.T) {
	c := newCluster(t, 2)
	owner := c.nodes[1]
	c.inspectCluster(testRules())
	c.idle()
	c.home(owner)
	fd := owner.lazyListener()
	defer unix.Close(fd)
	c.begin()
	const clients = 3 // a backlog of 0 holds one
	var firsts []func()
	for range clients {
		r := c.newRawClient(vip4, true)
		first := r.request(r.syn(), get)
		firsts = append(firsts, func() { r.send(first) })
		r.send(first)
	}
	waitFor(t, "three adoptions tried", func() bool {
		return c.reasons(ReasonAdoptedHanded)+c.reasons(ReasonAdoptedInspected) >= clients
	})
	for range clients {
		owner.do(func() {
			conn, _, err := unix.Accept(fd)
			owner.check(err)
			unix.Close(conn)
		})
		for _, send := range firsts {
			send()
		}
	}
	waitFor(t, "all adopted", func() bool { return c.adopted() == clients })
	c.expectOneOwner()
}

// A client that says nothing: its SYN/ACK comes once more, and its answer decides.
func TestSilentClient(t *testing.T) {
	t.Parallel() // it waits for clients more than it works
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprintf("close=%t", closes), func(t *testing.T) {
			inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
				inspector := c.nodes[0]
				rules := testRules()
				rules.Silent, rules.Close = 100*time.Millisecond, closes
				inspector.check(inspector.filter.SetServices([]Service{inspected(rules)}))
				sa := r.syn()
				r.send(r.bare(sa))
				var frames [][]byte
				waitFor(t, "the SYN/ACK is due again", func() bool { frames = inspector.unheard(0); return len(frames) == 1 })
				inspector.check(inspector.openWire(t)(frames[0]))
				if again := r.receiveSYNACK(); again != sa {
					t.Fatalf("the second SYN/ACK is %+v, want %+v", again, sa)
				}
				r.send(r.bare(sa))
				if closes {
					rst := r.receive("RST", isReset)
					if rst.Seq != sa.isn+1 {
						t.Errorf("RST at %d, want %d", rst.Seq, sa.isn+1)
					}
					return
				}
				c.waitActive(1)
				r.send(r.request(sa, get))
				r.receive("answer", isData)
				c.expectAdoptedOnce()
			})
		})
	}
}

// fail tells the guard of all slots, the second node, that another has failed.
func (c *cluster) fail(failed *node) { c.failAt(c.nodes[1], failed) }

// failAt tells a node that it acts for these, and for no others.
func (c *cluster) failAt(guard *node, failed ...*node) {
	c.t.Helper()
	acts := make([]bool, topology.SlotCount)
	for i := range acts {
		acts[i] = true
	}
	all := []Failed{}
	for _, n := range failed {
		all = append(all, Failed{ID: n.id, Acts: acts})
	}
	guard.check(guard.filter.SetFailed(all))
}

func (c *cluster) nobodyFailed() { c.nodes[1].check(c.nodes[1].filter.SetFailed(nil)) }

// The inspector is dead before it has the request: its guard takes the connection.
func TestInspectorDiesBeforeTheRequest(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		r.send(r.bare(sa))
		c.deafen(c.nodes[0], true)
		defer c.deafen(c.nodes[0], false)
		c.waitGuarded(c.nodes[1], r, func(g Guarded) bool { return g.Inspector == 1 && !g.Data })
		c.fail(c.nodes[0])
		defer c.nobodyFailed()
		r.send(r.request(sa, get))
		c.expectAnswer(r, c.nodes[1])
		c.expectAdoptedOnce()
	})
}

// It dies after it has handed the request over: the owner has the connection, and the
// client that sends its request again gets no second answer.
func TestInspectorDiesAfterTheHandover(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		r.send(r.bare(sa))
		first := r.request(sa, get)
		r.send(first)
		answer := c.expectAnswer(r, c.nodes[2])
		c.waitGuarded(c.nodes[1], r, func(g Guarded) bool { return g.Owner == 3 })
		c.deafen(c.nodes[0], true)
		defer c.deafen(c.nodes[0], false)
		c.fail(c.nodes[0])
		defer c.nobodyFailed()
		r.send(first)
		r.send(seg{flags: "A", seq: first.seq + uint32(len(get)), ack: answer.Seq + 3, payload: "x\n", tsecr: sa.tsval})
		r.receive("second answer", func(tcp *layers.TCP) bool { return isData(tcp) && tcp.Seq == answer.Seq+3 })
		c.expectAdoptedOnce()
	})
}

// The owner dies after the handover: the guard was told, and resets its client.
func TestOwnerDiesAfterTheHandover(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		sa := r.syn()
		first := r.request(sa, get)
		owner := c.nodes[2]
		c.fabric.check(c.fabric.nl.LinkSetDown(c.fabric.link(owner.name)))
		defer c.fabric.up(owner.name)
		r.send(first)
		c.waitGuarded(c.nodes[1], r, func(g Guarded) bool { return g.Owner == owner.id && g.Data })
		c.fail(owner)
		defer c.nobodyFailed()
		r.send(first)
		if rst := r.receive("RST", isReset); rst.Seq != sa.isn+1 {
			t.Errorf("RST at %d, want %d", rst.Seq, sa.isn+1)
		}
		if c.adopted() != 0 {
			t.Errorf("adopted\n%s", c.explain())
		}
	})
}

// waitGuarded waits for the guard's record of the raw client's connection.
func (c *cluster) waitGuarded(guard *node, r *rawClient, fits func(Guarded) bool) {
	c.t.Helper()
	waitFor(c.t, "the guard's record", func() bool {
		all, err := guard.filter.Guarded(0, 1, 2, 3)
		guard.check(err)
		for _, g := range all {
			if g.Flow.Client.Port() == r.port && g.Flow.VIP.Addr() == r.vip && fits(g) {
				return true
			}
		}
		return false
	})
}

// A node is down, for whom the guard acts. A request comes in two segments, the first is
// lost and comes again: the guard resets nothing, and can tell who is to decide.
func TestFirstSegmentIsLostWhileANodeIsDown(t *testing.T) {
	inspectedVariants(t, func(t *testing.T, c *cluster, r *rawClient) {
		guard := c.nodes[1]
		c.fail(&node{id: 4})
		defer c.nobodyFailed()
		sa := r.syn()
		r.send(r.bare(sa))
		first := r.request(sa, get[:5])
		second := first
		second.seq, second.payload = first.seq+5, get[5:]
		r.send(second)
		c.waitGuarded(guard, r, func(g Guarded) bool {
			return g.Data && g.Inspector == 1 && g.Owner == topology.Undecided
		})
		r.send(second) // the client hears nothing, and tries its last segment
		c.expectSilence(r)
		if guard.reason(ReasonStray) == 0 {
			t.Errorf("the guard asks nobody: the test tests nothing\n%s", c.explain())
		}
		r.send(first)
		r.send(second)
		got := r.tryReceive(2*time.Second, func(tcp *layers.TCP) bool { return isData(tcp) || tcp.RST })
		if got == nil || got.RST { // whoever has it: the first piece has no whole key
			t.Fatalf("answer is %v\n%s", got, c.explain())
		}
		c.expectAdoptedOnce()
	})
}

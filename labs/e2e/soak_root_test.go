// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// six is lab 01 with six nodes, for a long time of random faults.
var six = &lab{set: []string{"failure.grace=10s"}, change: addNodes("n5", "n6")}

// harm is one kind of fault of the soak test.
type harm struct {
	kind  string
	host  string // empty: one of the nodes
	flags []string
}

var harms = []harm{
	{kind: "crash"}, {kind: "reboot"}, {kind: "hang"}, {kind: "link-down"}, {kind: "agent-kill"},
	{kind: "partition", flags: []string{"--from", "controller"}},
	{kind: "slow", flags: []string{"--delay", "1s"}},
	{kind: "loss", flags: []string{"--loss", "5"}},
	{kind: "copy-loss", flags: []string{"--loss", "20"}},
	{kind: "controller-kill", host: "ctl"},
	{kind: "ovs-restart", host: "sw"},
}

// For half an hour, or ONEVIP_SOAK_FOR, one random fault follows the other under
// load. No two nodes ever own a connection, no stack sends a stray RST, and what
// the processes hold does not grow.
func TestSoak(t *testing.T) {
	if os.Getenv("ONEVIP_SOAK") == "" {
		t.Skip("takes half an hour: make soak")
	}
	limit := 30 * time.Minute
	if text := os.Getenv("ONEVIP_SOAK_FOR"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("ONEVIP_SOAK_FOR: %v", err)
		}
	}
	six.use(t)
	eventually(t, calm, six.healthy)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	before := six.holdings(t)
	load := startRate(t, six, failingRate)
	begun := time.Now()
	for round := 1; time.Since(begun) < limit; round++ {
		h := harms[random.IntN(len(harms))]
		if h.host == "" {
			h.host = fmt.Sprintf("n%d", 1+random.IntN(6))
		}
		lasts := time.Duration(1+random.IntN(4000)) * time.Millisecond
		t.Logf("%v: round %d: %s of %s for %v", time.Since(begun).Round(time.Second), round, h.kind, h.host, lasts)
		six.suffer(t, h, lasts)
	}
	load.checkFailing(t, true)
	six.checkHoldings(t, before)
}

// suffer goes through one fault, and checks what must hold.
func (l *lab) suffer(t *testing.T, h harm, lasts time.Duration) {
	t.Helper()
	nodes, err := l.nodes()
	if err != nil {
		t.Fatal(err)
	}
	l.fault(t, h.host, h.kind, h.flags...)
	time.Sleep(lasts) // how long it lasts, no condition
	if h.kind != "reboot" && h.kind != "ovs-restart" {
		l.heal(t, h.host)
	}
	eventually(t, 2*time.Minute, l.healthy)
	scene{lab: l, before: nodes}.checkInvariants(t)
}

// holding is what a process holds: memory of its own in kB, and open files. Pages of files
// are the kernel's, and no sign of a leak: etcd maps its whole file when it is started again.
type holding struct{ memory, files int }

// holdings are those of the agents and of the controller, by host.
func (l *lab) holdings(t *testing.T) map[string]holding {
	t.Helper()
	held := map[string]holding{}
	for _, host := range []string{"n1", "n2", "n3", "n4", "n5", "n6", "ctl"} {
		out := l.run(t, host, "sh", "-c", `pid=$(cat $ONEVIP_RUN/agent.pid $ONEVIP_RUN/controller.pid 2>/dev/null); ls /proc/$pid/fd | wc -l; grep RssAnon /proc/$pid/status`)
		words := regexp.MustCompile(`\d+`).FindAllString(out, 2)
		if len(words) != 2 {
			t.Fatalf("%s holds %q", host, out)
		}
		files, _ := strconv.Atoi(words[0])
		memory, _ := strconv.Atoi(words[1])
		held[host] = holding{memory, files}
	}
	return held
}

// checkHoldings allows for what fills up once: buffers, and the runtime's heap.
func (l *lab) checkHoldings(t *testing.T, before map[string]holding) {
	t.Helper()
	for host, now := range l.holdings(t) {
		was := before[host]
		t.Logf("%s: %d kB and %d files, were %d kB and %d files", host, now.memory, now.files, was.memory, was.files)
		if now.memory > was.memory*3/2+32<<10 || now.files > was.files+20 {
			t.Errorf("%s holds more and more", host)
		}
	}
}

// addNodes gives the copy of lab 01 more nodes.
func addNodes(names ...string) func(dir string) error {
	return func(dir string) error {
		var hosts, links, members, ports, mgmt strings.Builder
		for _, name := range names {
			number := strings.TrimPrefix(name, "n")
			fmt.Fprintf(&hosts, "    %s:\n      group: server\n      exec:\n        - ip addr add 172.31.77.1%[2]s/24 dev eth1\n"+
				"        - ip addr add 10.77.0.1%[2]s/16 dev eth0\n        - ip addr add fd77::1%[2]s/64 dev eth0 nodad\n", name, number)
			fmt.Fprintf(&links, "    - {endpoints: [\"%[1]s:eth0\", \"sw:%[1]s\"], mtu: 1500}\n    - {endpoints: [\"%[1]s:eth1\", \"sw:m%[2]s\"], mtu: 1500}\n", name, number)
			fmt.Fprintf(&members, "  - {name: %[1]s, switch: sw, port: %[1]s}\n", name)
			ports.WriteString(" " + name)
			mgmt.WriteString(" m" + number)
		}
		lab := filepath.Join(dir, "01-quickstart")
		err := edit(filepath.Join(lab, "topology.clab.yml"),
			"    client:\n", hosts.String()+"    client:\n",
			"  links:\n", "  links:\n"+links.String(),
			"DATA_PORTS: n1 n2 n3 n4 client", "DATA_PORTS: n1 n2 n3 n4"+ports.String()+" client",
			"MGMT_PORTS: m-ctl m1 m2 m3 m4", "MGMT_PORTS: m-ctl m1 m2 m3 m4"+mgmt.String())
		if err != nil {
			return err
		}
		return edit(filepath.Join(lab, "cluster.yaml"), "  - {name: n4, switch: sw, port: n4}\n", "  - {name: n4, switch: sw, port: n4}\n"+members.String())
	}
}

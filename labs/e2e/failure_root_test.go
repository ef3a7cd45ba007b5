// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A node's power fails: it is a scheduler of a quarter of the slots, and the
// owner of a quarter of the connections. New connections are answered by the
// secondaries, its streams are reset by their guards, and it comes back as
// another node.
func TestNodeCrashes(t *testing.T) {
	s := raise(t)
	s.prompt = true
	s.fault(t, "n2", "crash")
	s.awaitNode(t, "n2", isFenced)
	s.heal(t, "n2")
	s.awaitBack(t, "n2")
	s.ends(t, "n2")
}

// The switch tells of a lost carrier. The node lives, learns of its failure when
// it is connected again, and destroys its sockets before it comes back.
func TestLinkGoesDown(t *testing.T) {
	s := raise(t)
	s.fault(t, "n3", "link-down")
	s.awaitNode(t, "n3", isFenced)
	s.heal(t, "n3")
	s.awaitBack(t, "n3")
	s.ends(t, "n3")
}

// A node boots faster than anybody can miss it: the new boot is itself the
// failure of the old one.
func TestNodeReboots(t *testing.T) {
	s := raise(t)
	s.prompt = true
	s.fault(t, "n4", "reboot")
	s.awaitBack(t, "n4")
	s.ends(t, "n4")
}

// All processes of a node stop while its kernel lives and answers probes: it is
// not picked, and failed when its grace ends. What its kernel sends then in the VIP's
// name is dropped at the switch. Its processes go on one day, and must not do harm.
func TestNodeHangs(t *testing.T) {
	s := raise(t)
	s.fault(t, "n1", "hang")
	s.awaitNode(t, "n1", isFenced)
	dropped := s.fencedDrops(t)
	eventually(t, calm, func() error {
		out, err := s.try("n1", "curl", "-s", "--interface", families[0].vip, "--connect-timeout", "1", "http://"+families[0].from)
		if err == nil {
			t.Fatalf("the fence let a client answer %q", out)
		}
		if now := s.fencedDrops(t); now > dropped {
			return nil
		}
		return fmt.Errorf("the fence has dropped %d packets, and no more", dropped)
	})
	s.heal(t, "n1")
	s.awaitBack(t, "n1")
	s.ends(t, "n1")
}

// The flows of kind fenced (ovs/cookie.go) that take what comes from a node's port.
var fenceFlow = regexp.MustCompile(`cookie=0x1e77[0-9a-f]{4}0f.* n_packets=(\d+),.*in_port=\S*nw_src=`)

// fencedDrops is how many packets from a VIP the fences of the switch have dropped.
func (s scene) fencedDrops(t *testing.T) int {
	t.Helper()
	total, found := 0, false
	for line := range strings.Lines(s.run(t, "sw", "ovs-ofctl", "-OOpenFlow13", "dump-flows", "br0")) {
		if m := fenceFlow.FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			total, found = total+n, true
		}
	}
	if !found {
		t.Fatal("the switch has no fence")
	}
	return total
}

// An agent is killed and kept away: its node goes on serving what it has, and is
// up again when the agent is.
func TestAgentIsKilled(t *testing.T) {
	s := raise(t)
	s.fault(t, "n2", "agent-kill")
	s.awaitNode(t, "n2", func(n nodeView) bool { return n.State != "up" })
	s.heal(t, "n2")
	back := s.awaitNode(t, "n2", func(n nodeView) bool { return n.State == "up" && n.Health == "ok" })
	if back.ID != s.before["n2"].ID {
		t.Errorf("id %d, was %d: the node did not fail", back.ID, s.before["n2"].ID)
	}
	s.ends(t)
}

// Heartbeats come two seconds late from a node that lives: its connections
// survive or are reset, and nobody else answers for them.
func TestNodeIsSlow(t *testing.T) {
	s := raise(t)
	s.fault(t, "n3", "slow", "--delay", "2s")
	s.awaitNode(t, "n3", func(n nodeView) bool { return n.State == "failed" || n.Health != "ok" })
	s.heal(t, "n3")
	eventually(t, calm, s.healthy)
	nodes, err := s.nodes()
	if err != nil {
		t.Fatal(err)
	}
	if nodes["n3"].ID != s.before["n3"].ID {
		s.ends(t, "n3")
		return
	}
	s.ends(t)
}

// A node and the controller can't reach each other; clients and nodes can.
// Nobody fails.
func TestNodeIsCutOffFromTheController(t *testing.T) {
	s := raise(t)
	s.fault(t, "n4", "partition", "--from", "controller")
	s.awaitNode(t, "n4", func(n nodeView) bool { return n.State == "lost" })
	s.heal(t, "n4")
	eventually(t, calm, s.healthy)
	s.ends(t)
}

// Two nodes can't reach each other; all others, clients and the controller hear both.
// Each suspects the other, and that is not enough for anybody to fail, however long it
// lasts: longer than all that silence is given here.
func TestTwoNodesAreParted(t *testing.T) {
	s := raise(t)
	s.fault(t, "n1", "partition", "--from", "n2")
	for _, node := range []string{"n1", "n2"} {
		s.awaitNode(t, node, func(n nodeView) bool { return n.Health != "ok" })
	}
	for begun := time.Now(); time.Since(begun) < 2*failingGrace; {
		if err := s.answered(t, 200); err != nil {
			t.Error(err)
		}
		now, err := s.nodes()
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range now {
			if n.State != "up" || n.ID != s.before[name].ID {
				t.Fatalf("node %s is %s (%s), id %d, was %d", name, n.State, n.Health, n.ID, s.before[name].ID)
			}
		}
	}
	s.heal(t, "n1")
	eventually(t, calm, s.healthy)
	s.ends(t)
}

// With the controller and etcd dead nobody decides anything, and new connections
// are answered all the same when a scheduler crashes on top of that.
func TestNodeCrashesWithoutController(t *testing.T) {
	s := raise(t)
	s.late, s.prompt = true, true
	s.fault(t, "ctl", "controller-kill")
	eventually(t, calm, s.unreachable)
	s.fault(t, "n1", "crash")
	eventually(t, calm, func() error { return s.answered(t, 200) })
	s.heal(t, "ctl")
	s.awaitNode(t, "n1", isFenced)
	s.heal(t, "n1")
	s.awaitBack(t, "n1")
	s.ends(t, "n1")
}

// answered tells whether so many requests, from many addresses, get their answers.
func (s scene) answered(t *testing.T, count int) error {
	t.Helper()
	var got tally
	s.helper(t, &got, "requests", families[0].requests(count)...)
	if got.Failed > 0 {
		return fmt.Errorf("%d of %d requests failed: %q", got.Failed, count, got.Errors)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// A node's power fails: it is a scheduler of a quarter of the slots, and the
// owner of a quarter of the connections. New connections are answered by the
// secondaries, its streams are reset by their guards, and it comes back as
// another node.
func TestNodeCrashes(t *testing.T) {
	s := raise(t)
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
	s.fault(t, "n4", "reboot")
	s.awaitBack(t, "n4")
	s.ends(t, "n4")
}

// All processes of a node stop while its kernel lives and answers probes: it is
// not picked, and failed when its grace ends. What it sends then is dropped at
// the switch. Its processes go on one day, and must not do harm.
func TestNodeHangs(t *testing.T) {
	s := raise(t)
	s.fault(t, "n1", "hang")
	s.awaitNode(t, "n1", isFenced)
	dropped := s.fencedDrops(t)
	s.heal(t, "n1")
	s.awaitBack(t, "n1")
	if s.fencedDrops(t) < dropped {
		t.Log("the fence was lifted")
	}
	s.ends(t, "n1")
}

var fenceFlow = regexp.MustCompile(`n_packets=(\d+)`)

// fencedDrops is how many packets the fences of the switch have dropped.
func (s scene) fencedDrops(t *testing.T) int {
	t.Helper()
	total := 0
	for _, m := range fenceFlow.FindAllStringSubmatch(s.run(t, "sw", "sh", "-c", "ovs-ofctl -OOpenFlow13 dump-flows br0 | grep actions=drop || true"), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
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

// With the controller and etcd dead nobody decides anything, and new connections
// are answered all the same when a scheduler crashes on top of that.
func TestNodeCrashesWithoutController(t *testing.T) {
	s := raise(t)
	s.late = true
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

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// failing is lab 01 for faults. An agent may be silent for failingGrace.
var failing = &lab{set: []string{"failure.grace=" + failingGrace.String(), "heartbeat.misses=4"}}

const failingGrace = 5 * time.Second

// failingRate is the load under which nodes fail in make test: new connections
// per second. The full rate is onevip bench failover's.
const failingRate = 100

// calm is how long the cluster may take to be well again.
const calm = 30 * time.Second

// scene is a running lab with clients, in which something is about to fail.
type scene struct {
	*lab
	stream  stream
	streams *process
	before  map[string]nodeView
	late    bool // nobody could decide for a while: clients may give up by themselves
	prompt  bool // each SYN is answered before its client sends it again
}

// nodeView is what onevip nodes -o json says of one node.
type nodeView struct {
	Name       string
	ID         int
	State      string
	Health     string
	Primary    int `json:"primary_slots"`
	Violations map[string]int
}

func (l *lab) nodes() (map[string]nodeView, error) {
	var view struct{ Nodes []nodeView }
	if err := l.show("nodes", &view); err != nil {
		return nil, err
	}
	byName := map[string]nodeView{}
	for _, n := range view.Nodes {
		byName[n.Name] = n
	}
	return byName, nil
}

// raise brings the lab up, waits until it is well, and lets clients begin.
func raise(t *testing.T) scene {
	t.Helper()
	return raiseIn(t, failing)
}

// raiseIn is raise in a lab of choice; flags are the clients'.
func raiseIn(t *testing.T, l *lab, flags ...string) scene {
	t.Helper()
	l.use(t)
	eventually(t, calm, l.healthy)
	before, err := l.nodes()
	if err != nil {
		t.Fatal(err)
	}
	args := families[0].requests(40, append(flags, "-parallel", "8")...)
	s := scene{lab: l, before: before}
	s.streams = l.start(t, "client", helperCommand(t, "streams", args...)...)
	if line := s.streams.line(t); line != "open" {
		t.Fatalf("streams say %q", line)
	}
	s.stream = startRate(t, l, failingRate, flags...)
	return s
}

// awaitNode waits until what the cluster says of a node is right.
func (s scene) awaitNode(t *testing.T, node string, right func(nodeView) bool) nodeView {
	t.Helper()
	var got nodeView
	eventually(t, calm, func() error {
		nodes, err := s.nodes()
		if err != nil {
			return err
		}
		if got = nodes[node]; !right(got) {
			return fmt.Errorf("node %s is %s (%s), id %d", node, got.State, got.Health, got.ID)
		}
		return nil
	})
	return got
}

func isFenced(n nodeView) bool { return n.State == "failed" && strings.HasSuffix(n.Health, ", fenced") }

// awaitBack waits until a node that failed is up again under another id.
func (s scene) awaitBack(t *testing.T, node string) {
	t.Helper()
	was := s.before[node].ID
	back := s.awaitNode(t, node, func(n nodeView) bool { return n.State == "up" && n.ID != was })
	if back.ID == was {
		t.Errorf("node %s is back under its old id %d", node, was)
	}
}

// ends closes the scene: the streams of the lost nodes must have been reset (told,
// not timed out), and nobody else's; no connection of the open loop may have
// failed but those that the lost nodes had in hand; no invariant was violated.
func (s scene) ends(t *testing.T, lost ...string) {
	t.Helper()
	eventually(t, patience, func() error { return s.told(t, lost) })
	var seen []streamSeen
	if out := s.streams.finish(t); json.Unmarshal([]byte(out), &seen) != nil {
		t.Fatalf("streams say %q", out)
	}
	for _, stream := range seen {
		ended := !stream.Ended.IsZero()
		switch wasLost := slices.Contains(lost, stream.Node); {
		case ended && !wasLost:
			t.Errorf("a stream of %s, which did not fail, ended: %s", stream.Node, stream.Err)
		case wasLost && !s.late && !strings.Contains(stream.Err, "reset"):
			t.Errorf("a stream of %s, talking: %t, ended otherwise than by RST: %s", stream.Node, stream.Talking, stream.Err)
		}
	}
	if since := s.stream.checkFailing(t, s.late); s.prompt && since.unexplained() {
		t.Errorf("%d SYNs had to be sent again, though the switch lost nothing", since.resent)
	}
	s.checkInvariants(t)
}

// told tells whether all streams of the lost nodes have ended.
func (s scene) told(t *testing.T, lost []string) error {
	t.Helper()
	if _, err := fmt.Fprintln(s.streams.stdin); err != nil {
		t.Fatal(err)
	}
	var seen []streamSeen
	if line := s.streams.line(t); json.Unmarshal([]byte(line), &seen) != nil {
		t.Fatalf("streams say %q", line)
	}
	for _, stream := range seen {
		if slices.Contains(lost, stream.Node) && stream.Ended.IsZero() {
			return fmt.Errorf("a stream of %s, talking: %t, is not told", stream.Node, stream.Talking)
		}
	}
	return nil
}

// checkInvariants compares what the agents counted with what they had before.
func (s scene) checkInvariants(t *testing.T) {
	t.Helper()
	after, err := s.nodes()
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range after {
		for invariant, count := range n.Violations {
			if before := s.before[name].Violations[invariant]; count > before {
				t.Errorf("node %s saw %s violated %d times", name, invariant, count-before)
			}
		}
	}
}

// checkFailing ends the open loop: where the lab's switch lost nothing, requests may
// have been reset, with the owner that had them in hand, never left alone.
// After a time in which nobody could decide, they may also have timed out.
func (s stream) checkFailing(t *testing.T, late bool) losses {
	t.Helper()
	var got tally
	if out := s.run.finish(t); json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("stream says %q", out)
	}
	since := s.lab.losses(t).since(s.before)
	for _, text := range got.Errors {
		if !strings.Contains(text, "reset") && since.bySwitch == 0 && !late {
			t.Errorf("a request failed otherwise than by RST: %s", text)
		}
	}
	t.Logf("%v, %d reset, slowest %v, %v; late answers at seconds %v", got.Answers, got.Failed, got.Slowest.Round(time.Millisecond), since, got.Late)
	return since
}

// startRate begins an open loop.
func startRate(t *testing.T, l *lab, rate int, flags ...string) stream {
	t.Helper()
	before := l.losses(t)
	args := families[0].requests(0, append(flags, "-rate", strconv.Itoa(rate))...)
	return stream{l, before, l.start(t, "client", helperCommand(t, "rate", args...)...)}
}

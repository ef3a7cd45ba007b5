// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func labConfig(t *testing.T) topology.Cluster {
	config := clusterOf(t, []string{"nodes=n1,n2", "services=web:80"})
	config.Switches[0].OVSDB = "unix:/db.sock"
	return config
}

func labSwitch(f *memoryFabric) *memorySwitch {
	return newMemorySwitch(f, ovs.DatapathIDOf("lab", "s1"), "up", "n1", "n2")
}

func putNode(t *testing.T, store *state.Memory, name string) {
	t.Helper()
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: topology.NodeName(name), MAC: macOf(name)})
}

func TestOneController(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	c := start(t, store, f, "c1", labConfig(t))
	sw := labSwitch(f)
	session := sw.connect(t)
	await(t, "the bridge", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.ensured["s1"]) == 2 })
	await(t, "the first records", func() bool { return viewOf(t, store).Cookie != nil })
	if flows := sw.flows(); flows != "" {
		t.Errorf("before any node was seen:\n%s", flows)
	}

	putNode(t, store, "n1")
	await(t, "flood to n1", func() bool { return strings.Contains(sw.flows(), `output:n1`) })
	putNode(t, store, "n2")
	await(t, "flood to n2", func() bool { return strings.Contains(sw.flows(), `output:n2`) })
	await(t, "announcement for both", func() bool { return len((<-session.announced).Members) == 2 })
	c.metric(t, `onevip_controller_leader 1`)
	c.metric(t, `onevip_controller_nodes{state="up"} 2`)
	c.metric(t, `onevip_controller_slot_epoch `+slotEpoch(t, store))
	c.metric(t, `onevip_controller_switch_sessions{switch="s1"} 1`)
	c.metric(t, `onevip_controller_etcd_reachable 1`)

	flows, view := sw.flows(), viewOf(t, store)
	if err := c.end(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if sw.flows() != flows {
		t.Errorf("flows changed at the end:\n%s", sw.flows())
	}
	after := viewOf(t, store)
	if after.Leader != "" || len(after.Nodes) != len(view.Nodes) {
		t.Errorf("leader %q, nodes %v: want to have resigned and left the rest", after.Leader, after.Nodes)
	}
}

// TestNothingNewNothingWritten: reports that change nothing give no revision.
func TestNothingNewNothingWritten(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	start(t, store, f, "c1", labConfig(t))
	putNode(t, store, "n1")
	await(t, "slots", func() bool {
		v := viewOf(t, store)
		return v.Slots != nil && v.Loads["web"].Nodes["n1"].Reason == noReport
	})
	before := viewOf(t, store).Revision
	for range 20 {
		putNode(t, store, "n1") // the same again
	}
	putNode(t, store, "n2")
	await(t, "n2", func() bool { return viewOf(t, store).Nodes["n2"].State == state.NodeUp })
	await(t, "n2's load", func() bool { return viewOf(t, store).Loads["web"].Nodes["n2"].Reason == noReport })
	// Each put counts a revision in memory: 21 by the agents, 1 or 2 by the leader.
	if writes := viewOf(t, store).Revision - before - 21; writes < 1 || writes > 2 {
		t.Errorf("%d writes for one node that came up", writes)
	}
}

func TestSuccession(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	first := start(t, store, f, "c1", labConfig(t))
	sw := labSwitch(f)
	sw.connect(t)
	putNode(t, store, "n1")
	await(t, "flows", func() bool { return strings.Contains(sw.flows(), `output:n1`) })
	changes, generation := sw.count()

	second := start(t, store, f, "c2", labConfig(t))
	second.metric(t, `onevip_controller_etcd_reachable 1`)
	if listens, _ := f.count(); listens != 1 {
		t.Errorf("%d controllers listened: the one that stands by must not", listens)
	}
	if err := first.end(t); err != nil {
		t.Error(err)
	}
	sw.connect(t)
	second.metric(t, `onevip_controller_leader 1`)
	await(t, "a new master", func() bool { _, now := sw.count(); return now > generation })
	second.metric(t, `onevip_controller_switch_sessions{switch="s1"} 1`)
	putNode(t, store, "n2")
	await(t, "flows for n2", func() bool { return strings.Contains(sw.flows(), `output:n2`) })
	if now, _ := sw.count(); now >= 2*changes {
		t.Errorf("%d changes after %d: the new leader must keep what is there", now, changes)
	}
	if viewOf(t, store).Nodes["n1"].ID != 1 {
		t.Error("n1 has another id")
	}
}

// TestDeposed: the lease ran out, another leads; the old leader leaves the
// switches to it.
func TestDeposed(t *testing.T) {
	store := state.NewMemory()
	mine, others := newMemoryFabric(), newMemoryFabric()
	first := start(t, store, mine, "c1", labConfig(t))
	first.metric(t, `onevip_controller_leader 1`)
	await(t, "c1 listening", func() bool { _, is := mine.count(); return is })
	second := start(t, store, others, "c2", labConfig(t))
	await(t, "c2 standing by", func() bool { return second.count("level=") == 0 && viewOf(t, store).Leader == "c1" })
	await(t, "c2's candidacy", func() bool {
		store.Depose()
		return viewOf(t, store).Leader == "c2"
	})
	second.metric(t, `onevip_controller_leader 1`)
	await(t, "c1 hanging up", func() bool { _, is := mine.count(); return !is })
	await(t, "c2 listening", func() bool { _, is := others.count(); return is })
	first.metric(t, `onevip_controller_leader 0`)
}

// TestEtcdOutage: the switches are served from the last View, without a gap.
func TestEtcdOutage(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	c := start(t, store, f, "c1", labConfig(t))
	sw := newMemorySwitch(f, ovs.DatapathIDOf("lab", "s1"), "n1")
	session := sw.connect(t)
	putNode(t, store, "n1")
	putNode(t, store, "n2")
	await(t, "flows", func() bool { return strings.Contains(sw.flows(), `output:n1`) })
	_, generation := sw.count()

	store.Interrupt()
	c.metric(t, `onevip_controller_etcd_reachable 0`)
	c.metric(t, `onevip_controller_leader 0`)
	session.addPort("n2")
	await(t, "flows for a port that came in the outage", func() bool { return strings.Contains(sw.flows(), `output:n2`) })
	_ = session.Close()
	again := sw.connect(t)
	c.metric(t, `onevip_controller_switch_sessions{switch="s1"} 1`)

	store.Restore()
	c.metric(t, `onevip_controller_leader 1`)
	await(t, "the switch claimed for the new term", func() bool { _, now := sw.count(); return now > generation })
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: "n2", MAC: macOf("n5")})
	await(t, "flows for a new MAC", func() bool { return strings.Contains(sw.flows(), macOf("n5").String()) })
	select {
	case <-again.Done():
		t.Error("the session was closed")
	default:
	}
	if listens, _ := f.count(); listens != 1 {
		t.Errorf("listened %d times: want no gap", listens)
	}
	if n := c.count("the last tables stay in force"); n != 1 {
		t.Errorf("the outage was said %d times, want once", n)
	}
}

func TestCookieKeysRotate(t *testing.T) {
	store, config := state.NewMemory(), labConfig(t)
	config.Cookie.Rotate = 100 * time.Millisecond
	start(t, store, newMemoryFabric(), "c1", config)
	await(t, "three rotations", func() bool { v := viewOf(t, store); return v.Cookie != nil && v.Cookie.Epoch >= 4 })
}

func TestSwitchFails(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	c := start(t, store, f, "c1", labConfig(t))
	sw := labSwitch(f)
	sw.fail(errors.New("table full"))
	sw.connect(t)
	putNode(t, store, "n1")
	await(t, "the complaint", func() bool { return c.count("table full") > 0 })
	putNode(t, store, "n2")
	sw.fail(nil)
	await(t, "flows after all", func() bool { return strings.Contains(sw.flows(), `output:n2`) })
	// Somebody else claims the switch under a higher generation id.
	sw.mu.Lock()
	sw.generation, sw.master = sw.generation+1, nil
	sw.mu.Unlock()
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: "n1", MAC: macOf("n7")})
	await(t, "words about it", func() bool { return c.count("the switch has seen a newer leader") == 1 })
}

func TestStrangeSwitch(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	c := start(t, store, f, "c1", labConfig(t))
	session := newMemorySwitch(f, 0x1234).connect(t)
	<-session.Done()
	await(t, "words about it", func() bool { return c.count("0000000000001234") == 1 })
}

func TestRunRefuses(t *testing.T) {
	taken := newMemoryFabric()
	taken.refuse = errors.New("address already in use")
	apart := labConfig(t)
	apart.Switches = append(apart.Switches, topology.Switch{Name: "s2"})
	tests := []struct {
		name, controller string
		fabric           *memoryFabric
		config           topology.Cluster
		want             string
	}{
		{"no name", "", newMemoryFabric(), labConfig(t), "needs its own"},
		{"address taken", "c1", taken, labConfig(t), "controller.openflow"},
		{"switches apart", "c1", newMemoryFabric(), apart, "no path of links"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := state.NewMemory()
			c := start(t, store, tt.fabric, tt.controller, tt.config)
			select {
			case err := <-c.ended:
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v: want %q in it", err, tt.want)
				}
			case <-time.After(patience):
				t.Fatal("goes on")
			}
			if leader := viewOf(t, store).Leader; leader != "" {
				t.Errorf("%s still leads", leader)
			}
		})
	}
}

func slotEpoch(t *testing.T, store state.Store) string {
	t.Helper()
	return strconv.FormatUint(viewOf(t, store).Slots.Epoch, 10)
}

// TestWarnings: each is said once, and so is its end.
func TestWarnings(t *testing.T) {
	store := state.NewMemory()
	c := start(t, store, newMemoryFabric(), "c1", labConfig(t))
	putNode(t, store, "n9")
	await(t, "the warning", func() bool { return c.count("no node of the configuration") == 1 })
	putNode(t, store, "n1")
	await(t, "n1", func() bool { return viewOf(t, store).Nodes["n1"].State == state.NodeUp })
	store.Put("agents/n9", nil)
	await(t, "its end", func() bool { return c.count("no longer: an agent runs") == 1 })
	if n := c.count("msg=\"an agent runs"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	c.metric(t, `onevip_controller_warnings 0`)
}

// doubtful is a store whose leader's second write is done and said to have failed.
type doubtful struct{ state.Store }

func (d doubtful) Campaign(ctx context.Context, name string) (state.Leadership, error) {
	l, err := d.Store.Campaign(ctx, name)
	return &doubtfulLeader{Leadership: l}, err
}

type doubtfulLeader struct {
	state.Leadership
	writes int // the loop's goroutine only
}

func (l *doubtfulLeader) Apply(ctx context.Context, changes ...state.Change) (int64, error) {
	revision, err := l.Leadership.Apply(ctx, changes...)
	if l.writes++; l.writes == 2 {
		return 0, errors.New("no answer")
	}
	return revision, err
}

// TestDoubtfulWrite: what may have been written is looked at, not written twice.
func TestDoubtfulWrite(t *testing.T) {
	store := state.NewMemory()
	putNode(t, store, "n1")
	c := start(t, doubtful{store}, newMemoryFabric(), "c1", labConfig(t))
	await(t, "the first table", func() bool { return viewOf(t, store).Slots != nil })
	before := viewOf(t, store).Slots.Epoch
	putNode(t, store, "n2")
	await(t, "the second table", func() bool { return len(viewOf(t, store).Slots.Nodes) == 2 })
	await(t, "words about it", func() bool { return c.count("the state can not be written") == 1 })
	store.Put("agents/n1", nil)
	await(t, "the third table", func() bool { return len(viewOf(t, store).Slots.Nodes) == 1 })
	if after := viewOf(t, store).Slots.Epoch; after != before+2 {
		t.Errorf("epoch %d after %d: want each table written once", after, before)
	}
}

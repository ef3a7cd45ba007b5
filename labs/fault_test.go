// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"

	"github.com/onevip/onevip/topology"
)

// small is a lab with two nodes, a switch and a controller, never built.
func small() *Running {
	agent := map[string]string{partLabel + ".agent": "sh agent.sh"}
	return &Running{
		Name: "small",
		Hosts: []Host{
			{Name: "sw", Labels: map[string]string{partLabel + ".ovs": "sh sw.sh"}},
			{Name: "n1", Labels: agent}, {Name: "n2", Labels: agent},
			{Name: "ctl", Labels: map[string]string{roleLabel: "controller", partLabel + ".controller": "sh controller.sh"}},
		},
		Links: []topology.LabLink{
			{A: at("n1", "eth0"), B: at("sw", "n1")}, {A: at("sw", "n2"), B: at("n2", "eth0")},
			{A: at("n1", "eth1"), B: at("sw", "m1")}, {A: at("ctl", "eth1"), B: at("sw", "mc")},
		},
	}
}

func at(host, link string) topology.LabEndpoint {
	return topology.LabEndpoint{Node: host, Interface: link}
}

// macOfHost gives each host an address that tells its name.
func macOfHost(h Host) ([]topology.MAC, error) {
	var mac topology.MAC
	copy(mac[:], h.Name)
	return []topology.MAC{mac}, nil
}

// line is a step in one line.
func (s step) line() string {
	words := []string{string(s.Op), s.Host}
	if s.Link != "" {
		words = append(words, s.Link)
	}
	if s.Op == opDrop {
		words = append(words, fmt.Sprint(s.Drop.Loss))
	}
	if s.Drop.Unicast {
		words = append(words, "unicast")
	}
	for _, mac := range s.Drop.Sources {
		words = append(words, strings.TrimRight(string(mac[:]), "\x00"))
	}
	if s.Delay != 0 {
		words = append(words, s.Delay.String())
	}
	if s.Twice != 0 {
		words = append(words, fmt.Sprint(s.Twice))
	}
	if s.Part != "" {
		words = append(words, s.Part)
	}
	return strings.Join(words, " ")
}

func TestPlanOfFaults(t *testing.T) {
	tests := []struct {
		host string
		kind FaultKind
		o    FaultOptions
		want string // steps, or the error
	}{
		{"n1", Crash, FaultOptions{}, "boot n1; drop n1 eth0 1; drop sw n1 1; drop n1 eth1 1; drop sw m1 1; die n1"},
		{"n2", Reboot, FaultOptions{}, "boot n2; drop n2 eth0 1; drop sw n2 1; die n2"},
		{"n1", Hang, FaultOptions{}, "stop n1"},
		{"n1", LinkDown, FaultOptions{}, "down sw n1"},
		{"n1", LinkDown, FaultOptions{Link: "eth1"}, "down sw m1"},
		{"n1", LinkDown, FaultOptions{Link: "eth9"}, `host n1 has no link "eth9"; write one of: eth0, eth1`},
		{"n1", Partition, FaultOptions{From: "n2"}, "drop sw n2 1 n1; drop sw n1 1 n2; drop sw m1 1 n2"},
		{"n2", Partition, FaultOptions{From: "controller"}, "drop sw mc 1 n2; drop sw n2 1 ctl"},
		{"n1", Partition, FaultOptions{}, "partition from whom? Write --from with a host, or with a role such as controller"},
		{"n1", Partition, FaultOptions{From: "n1"}, "host n1 can't be parted from itself"},
		{"n1", Partition, FaultOptions{From: "n7"}, `lab small has no host "n7"; write one of: sw, n1, n2, ctl`},
		{"n2", Slow, FaultOptions{}, "delay n2 eth0 2s"},
		{"n2", Slow, FaultOptions{Delay: time.Millisecond}, "delay n2 eth0 1ms"},
		{"n2", Slow, FaultOptions{Loss: 0.5}, "fault slow has no use for --loss"},
		{"n2", Shuffle, FaultOptions{}, "delay n2 eth0 2ms 0.1"},
		{"n2", Shuffle, FaultOptions{Delay: time.Second, Loss: 0.5}, "delay n2 eth0 1s 0.5"},
		{"n2", Loss, FaultOptions{Loss: 0.25}, "drop n2 eth0 0.25"},
		{"n2", Loss, FaultOptions{Loss: 1.5}, "a loss of 1.5 is no share of frames; write one above 0 and up to 1"},
		{"n2", CopyLoss, FaultOptions{}, "drop sw n2 0.1 unicast"},
		{"n2", AgentKill, FaultOptions{}, "kill n2 agent"},
		{"n2", AgentKill, FaultOptions{For: -1}, "a fault takes no negative time"},
		{"sw", AgentKill, FaultOptions{}, "host sw has no agent; write one of: n1, n2"},
		{"ctl", ControllerKill, FaultOptions{}, "kill ctl controller"},
		{"ctl", EtcdKill, FaultOptions{}, "no host of this lab has an etcd of its own: it lives in the controller's process, and controller-kill ends both"},
		{"sw", OVSRestart, FaultOptions{}, "kill sw ovs"},
		{"n1", "melt", FaultOptions{}, `there is no fault "melt"; write one of: crash, reboot, hang, link-down, partition, slow, shuffle, loss, copy-loss, agent-kill, controller-kill, etcd-kill, etcd-pause, ovs-restart`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.host, " ", tt.kind), func(t *testing.T) {
			if diff := cmp.Diff(tt.want, planned(small(), tt.host, tt.kind, tt.o)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func planned(r *Running, host string, kind FaultKind, o FaultOptions) string {
	row, err := kindOf(kind)
	if err != nil {
		return err.Error()
	}
	h, err := r.Host(host)
	if err = errors.Join(err, row.refuse(o)); err != nil {
		return err.Error()
	}
	steps, err := row.plan(planner{r, macOfHost}, h, o)
	if err != nil {
		return err.Error()
	}
	lines := make([]string, len(steps))
	for i, s := range steps {
		lines[i] = s.line()
	}
	return strings.Join(lines, "; ")
}

func TestConflicts(t *testing.T) {
	active := func(host string, kind FaultKind, o FaultOptions) ActiveFault {
		row, _ := kindOf(kind)
		r := small()
		h, _ := r.Host(host)
		steps, err := row.plan(planner{r, macOfHost}, h, o)
		if err != nil {
			t.Fatal(err)
		}
		return ActiveFault{ID: 4, Host: host, Kind: kind, From: o.From, Steps: steps}
	}
	fromN2 := FaultOptions{From: "n2"}
	tests := []struct {
		there, then ActiveFault
		refused     bool
	}{
		{active("n1", Hang, FaultOptions{}), active("n1", Hang, FaultOptions{}), true},
		{active("n1", Hang, FaultOptions{}), active("n2", Hang, FaultOptions{}), false},
		{active("n1", Hang, FaultOptions{}), active("n1", Slow, FaultOptions{}), false},
		{active("n1", Partition, fromN2), active("n1", Partition, FaultOptions{From: "ctl"}), false},
		{active("n1", Partition, fromN2), active("n1", Partition, fromN2), true},
		{active("n1", Crash, FaultOptions{}), active("n1", Loss, FaultOptions{}), true},
		{active("n1", Crash, FaultOptions{}), active("n2", Crash, FaultOptions{}), false},
		{active("n1", Loss, FaultOptions{}), active("n1", Reboot, FaultOptions{}), true},
		{active("n1", CopyLoss, FaultOptions{}), active("sw", Crash, FaultOptions{}), true}, // the switch's port drops
	}
	for _, tt := range tests {
		r := small()
		r.Faults = []ActiveFault{tt.there}
		row, _ := kindOf(tt.then.Kind)
		err := r.conflict(tt.then, row)
		if refused := errors.Is(err, ErrFaultActive); refused != tt.refused || (err != nil) != refused {
			t.Errorf("%s, then %s: %v", tt.there, tt.then, err)
		}
		if id := r.freeFaultID(); id != 5 {
			t.Errorf("the next fault is number %d", id)
		}
	}
}

// What is written down is all that undoing needs.
func TestStepsAreStored(t *testing.T) {
	steps := []step{
		{ID: 3, Op: opDrop, Host: "n1", Link: "eth0", Drop: drop{Loss: 0.25, Unicast: true, Sources: []topology.MAC{{2, 3, 4, 5, 6, 7}}}},
		{ID: 3, Op: opDelay, Host: "n1", Link: "eth0", Delay: 2 * time.Second},
		{ID: 3, Op: opKill, Host: "n1", Part: "agent"},
		{ID: 3, Op: opDie, Host: "n1"},
	}
	text, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	var got []step
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(steps, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, s := range steps {
		if _, known := deeds[s.Op]; !known {
			t.Errorf("nobody knows how to undo %s", s.Op)
		}
	}
	unknown := ActiveFault{Host: "n1", Steps: []step{{Op: "melt", Host: "n1"}}}
	if err := small().undo(unknown); err == nil || !strings.Contains(err.Error(), "take the lab down") {
		t.Errorf("a step of another version: %v", err)
	}
}

func TestDropProgram(t *testing.T) {
	frame := func(dst, src string) []byte {
		d, _ := net.ParseMAC(dst)
		s, _ := net.ParseMAC(src)
		return append(append(append([]byte{}, d...), s...), 0x08, 0x00)
	}
	const me, one, other = "02:00:00:00:00:01", "02:11:22:33:44:55", "02:11:22:33:44:56"
	sources := []topology.MAC{{2, 0x11, 0x22, 0x33, 0x44, 0x55}, {3, 0x11, 0x22, 0x33, 0x44, 0x56}}
	tests := []struct {
		name    string
		drop    drop
		frame   []byte
		dropped bool
	}{
		{"all", drop{Loss: 1}, frame(me, one), true},
		{"a source", drop{Loss: 1, Sources: sources}, frame("ff:ff:ff:ff:ff:ff", one), true},
		{"the second source", drop{Loss: 1, Sources: sources}, frame(me, "03:11:22:33:44:56"), true},
		{"half a source", drop{Loss: 1, Sources: sources}, frame(me, other), false},
		{"to a source", drop{Loss: 1, Sources: sources}, frame(one, me), false},
		{"unicast", drop{Loss: 1, Unicast: true}, frame(me, one), true},
		{"broadcast", drop{Loss: 1, Unicast: true}, frame("ff:ff:ff:ff:ff:ff", one), false},
		{"multicast", drop{Loss: 1, Unicast: true}, frame("33:33:00:00:00:01", one), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vm, err := bpf.NewVM(tt.drop.program())
			if err != nil {
				t.Fatal(err)
			}
			verdict, err := vm.Run(tt.frame)
			if err != nil || (verdict == tcShot) != tt.dropped {
				t.Errorf("verdict %#x, error %v", verdict, err)
			}
		})
	}
}

func TestBytecode(t *testing.T) {
	got, err := bytecode(drop{Loss: 1}.program())
	if err != nil || got != "1,6 0 0 2" {
		t.Errorf("%q, error %v", got, err)
	}
	if _, err := bytecode(drop{Loss: 0.5}.program()); err != nil { // with an extension, which no VM knows
		t.Error(err)
	}
}

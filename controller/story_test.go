// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

var rewrite = flag.Bool("rewrite", false, "write what the stories in testdata give instead of comparing")

// TestStories tells testdata/*.txt: commands, then ---- and what they give.
//
//	config nodes=n1,n2*3 services=web:80 schedulers=all rotate=60s max=10
//	agent n1 boot=b1 web=3/7 db=sick    agent's record: active/adopted, or unhealthy
//	gone n1                             its lease ran out
//	stranger slots {"schema":2}         somebody writes by hand
//	delete slots                        somebody deletes by hand
//	tick 20s                            time goes by
//	decide                              Decide, and write the changes
//	switch                              what the switches shall do
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) { tellStory(t, file) })
	}
}

func tellStory(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newStory(t)
	var told strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		commands, want, isBlock := strings.Cut(block, "\n----")
		if !isBlock { // a comment
			told.WriteString(block + "\n\n")
			continue
		}
		got := ""
		for command := range strings.SplitSeq(commands, "\n") {
			got += s.run(command)
		}
		if got = strings.TrimSuffix(got, "\n"); got != strings.TrimPrefix(want, "\n") && !*rewrite {
			t.Errorf("%s:\n%s\n---- got\n%s\n---- want%s", file, commands, got, want)
		}
		told.WriteString(strings.TrimSuffix(commands+"\n----\n"+got, "\n") + "\n\n")
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.TrimSpace(told.String())+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// story is a cluster whose leader has no loop around it.
type story struct {
	t       *testing.T
	store   *state.Memory
	leader  state.Leadership
	config  topology.Cluster
	now     time.Time
	loadsAt time.Time
	made    byte // keys made so far
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newStory(t *testing.T) *story {
	store := state.NewMemory()
	leader, err := store.Campaign(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, store: store, leader: leader, now: noon}
}

func (s *story) run(command string) string {
	words := strings.Fields(command)
	if len(words) == 0 || strings.HasPrefix(command, "#") {
		return ""
	}
	args := words[1:]
	switch words[0] {
	case "config":
		s.config = clusterOf(s.t, args)
	case "agent":
		s.agent(args)
	case "gone":
		s.store.Put("agents/"+args[0], nil)
	case "delete":
		s.store.Put(args[0], nil)
	case "stranger":
		s.store.Put(args[0], []byte(args[1]))
	case "tick":
		s.now = s.now.Add(duration(s.t, args[0]))
	case "decide":
		return s.decide()
	case "switch":
		return s.switches()
	default:
		s.t.Fatalf("what is %q?", command)
	}
	return ""
}

// clusterOf reads the arguments of config.
func clusterOf(t *testing.T, args []string) topology.Cluster {
	c := topology.Default()
	c.Name, c.MAC, c.Cookie.Rotate = "lab", topology.MAC{2, 0, 0x5e, 0, 0, 0xff}, time.Minute
	c.Switches = []topology.Switch{{Name: "s1", Bridge: "br0"}}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "nodes":
			c.Nodes = nodesOf(t, value)
		case "services":
			c.Services = servicesOf(t, value)
		case "schedulers":
			c.Schedulers = topology.Schedulers(value)
		case "rotate":
			c.Cookie.Rotate = duration(t, value)
		case "max":
			for i := range c.Services {
				c.Services[i].MaxConns = uint32(number(t, value))
			}
		default:
			t.Fatalf("config: what is %q?", arg)
		}
	}
	return c
}

func nodesOf(t *testing.T, list string) []topology.Node {
	var nodes []topology.Node
	for word := range strings.SplitSeq(list, ",") {
		name, weight, weighted := strings.Cut(word, "*")
		node := topology.Node{Name: topology.NodeName(name), Switch: "s1", Port: name, Weight: 1}
		if weighted {
			node.Weight = uint16(number(t, weight))
		}
		nodes = append(nodes, node)
	}
	return nodes
}

func servicesOf(t *testing.T, list string) []topology.Service {
	var services []topology.Service
	for word := range strings.SplitSeq(list, ",") {
		name, port, _ := strings.Cut(word, ":")
		services = append(services, topology.Service{
			Name: topology.ServiceName(name), VIPs: addrs("10.77.0.1", "fd77::1"), Port: uint16(number(t, port)),
			Policy: topology.LeastConnection, Health: topology.Health{Type: topology.HealthTCP},
		})
	}
	return services
}

// agent writes an agent's record. The MAC follows from the name's last digit.
func (s *story) agent(args []string) {
	name := args[0]
	agent := state.Agent{
		Schema: state.Schema, Name: topology.NodeName(name), Incarnation: "boot-1", MAC: macOf(name),
		Services: map[topology.ServiceName]state.AgentHealth{},
	}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "boot":
			agent.Incarnation = value
		case "mac":
			agent.MAC = macOf(value)
		default:
			agent.Services[topology.ServiceName(key)] = s.health(value)
		}
	}
	putAgent(s.t, s.store, agent)
}

func (s *story) health(value string) state.AgentHealth {
	active, adopted, well := strings.Cut(value, "/")
	if !well {
		return state.AgentHealth{Reason: value}
	}
	return state.AgentHealth{Healthy: true, Active: uint32(number(s.t, active)), Adopted: uint64(number(s.t, adopted))}
}

// decide writes what Decide says, and holds it to having nothing more to say.
func (s *story) decide() string {
	d := s.ask()
	if len(d.Changes) > 0 {
		if _, err := s.leader.Apply(s.t.Context(), d.Changes...); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, change := range d.Changes {
		if _, load := change.Record.(state.Load); load {
			s.loadsAt = s.now.Add(loadsEvery)
		}
	}
	if again := s.ask(); len(again.Changes) > 0 {
		s.t.Errorf("decided again without need: %v", again.Changes)
	}
	return s.text(d)
}

func (s *story) ask() Decision {
	s.made++
	in := Input{Config: s.config, View: viewOf(s.t, s.store), Now: s.now, LoadsAt: s.loadsAt}
	for i := range in.Fresh.Cookie {
		in.Fresh.Cookie[i] = [state.CookieKeyLen]byte{s.made, byte(i)}
	}
	return Decide(in)
}

func (s *story) text(d Decision) string {
	var out strings.Builder
	for _, change := range d.Changes {
		fmt.Fprintln(&out, changeText(change))
	}
	for _, e := range d.Events {
		fmt.Fprintf(&out, "event: %s", e.Kind)
		for _, attr := range e.attrs() {
			fmt.Fprintf(&out, " %s", attr)
		}
		fmt.Fprintln(&out)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(&out, "warning: %s %s: %s\n", w.Reason, w.Node, w.Text)
	}
	if !d.Next.IsZero() {
		fmt.Fprintf(&out, "next in %v\n", d.Next.Sub(s.now))
	}
	return out.String()
}

// changeText is a change on one line.
func changeText(change state.Change) string {
	verb := "put"
	if change.Delete {
		verb = "delete"
	}
	switch r := change.Record.(type) {
	case state.Cluster:
		return fmt.Sprintf("%s cluster schedulers=%s created=%s", verb, r.Schedulers, r.Created.Format(time.TimeOnly))
	case state.Service:
		return fmt.Sprintf("%s services/%s id=%d port=%d", verb, r.Name, r.ID, r.Port)
	case state.Node:
		return fmt.Sprintf("%s nodes/%s id=%d %s since=%s weight=%d mac=%s boot=%s", verb, r.Name, r.ID, r.State, r.Since.Format(time.TimeOnly), r.Weight, r.MAC, r.Incarnation)
	case state.IDs:
		return verb + " ids" + restText(r)
	case state.Slots:
		return fmt.Sprintf("%s slots epoch=%d nodes=%v schedulers=%s primaries=%v", verb, r.Epoch, r.Nodes, r.Schedulers, distinct(r.Primary))
	case state.CookieKeys:
		return fmt.Sprintf("%s keys/cookie epoch=%d previous=%x current=%x next=%x", verb, r.Epoch, []byte(r.Previous[:2]), []byte(r.Current[:2]), []byte(r.Next[:2]))
	case state.HeartbeatKey:
		return verb + " keys/heartbeat"
	case state.Load:
		return fmt.Sprintf("%s scheduler/%s%s", verb, r.Service, loadText(r))
	}
	return fmt.Sprintf("%s a %T", verb, change.Record)
}

func restText(r state.IDs) string {
	text := ""
	for _, name := range sortedKeys(r.Nodes) {
		text += fmt.Sprintf(" node %s=%d", name, r.Nodes[name].ID)
	}
	for _, name := range sortedKeys(r.Services) {
		text += fmt.Sprintf(" service %s=%d", name, r.Services[name].ID)
	}
	return text
}

func loadText(r state.Load) string {
	text := ""
	for _, name := range sortedKeys(r.Nodes) {
		load := r.Nodes[name]
		if load.Pickable {
			text += fmt.Sprintf(" %s=%d/%d", name, load.Active, load.Adopted)
			continue
		}
		text += fmt.Sprintf(" %s=(%s)", name, load.Reason)
	}
	return text
}

func (s *story) switches() string {
	intent, ready := intentFor(s.config, viewOf(s.t, s.store), nil, "s1")
	if !ready {
		return "not yet\n"
	}
	text := fmt.Sprintf("vips %v mac %s\n", intent.VIPs, intent.ClusterMAC)
	for _, m := range intent.Members {
		text += memberText(m)
	}
	return text
}

func memberText(m ovs.Member) string {
	return fmt.Sprintf("member %d %s port=%s mac=%s\n", m.ID, m.Name, m.Port, m.MAC)
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

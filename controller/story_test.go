// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

var rewrite = flag.Bool("rewrite", false, "write what the stories in testdata give instead of comparing")

// TestStories tells testdata/*.txt: commands, then ---- and what they give.
//
//	config nodes=n1,n2*3 services=web:80,files:81:locality schedulers=all rotate=60s max=10
//	set files 7 n1,n2                   an agent writes the nodes of a bucket
//	agent n1 boot=b1 web=3/7 db=sick    agent's record: active/adopted, or unhealthy
//	agent n1 suspects=n2,n3 agentless=n4@40s cleared=1   whom it does not hear, since now or so long
//	gone n1                             its lease ran out
//	down n1, carrier n1                 its port on the switch
//	away s1, connected s1               the switch's session
//	fenced 1                            the fence of failure 1 is in force at its switch
//	leader c2                           another controller is elected
//	stranger slots {"schema":2}         somebody writes by hand
//	delete slots                        somebody deletes by hand
//	tick 20s                            time goes by
//	decide                              Decide, and write the changes
//	switch                              what the switches shall do
//	events                              the ring
//	failure 1                           the record
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
	in      Input
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newStory(t *testing.T) *story {
	store := state.NewMemory()
	leader, err := store.Campaign(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	return &story{t: t, store: store, leader: leader, now: noon, in: Input{
		Down: map[topology.NodeName]bool{}, Away: map[topology.SwitchName]bool{}, Fenced: map[uint64]bool{},
	}}
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
	case "set":
		s.set(args)
	case "gone":
		s.store.Put("agents/"+args[0], nil)
	case "delete":
		s.store.Put(args[0], nil)
	case "stranger":
		s.store.Put(args[0], []byte(args[1]))
	case "tick", "leader", "down", "carrier", "away", "connected", "fenced":
		s.world(words[0], args[0])
	case "events":
		return s.events()
	case "failure":
		return failureText(viewOf(s.t, s.store).Failures[uint64(number(s.t, args[0]))]) + "\n"
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
	c.Failure.Grace, c.Heartbeat.Misses = 30*time.Second, 5
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
		parts := strings.Split(word+":least-connection", ":")
		service := topology.Service{
			Name: topology.ServiceName(parts[0]), VIPs: addrs("10.77.0.1", "fd77::1"), Port: uint16(number(t, parts[1])),
			Policy: topology.Policy(parts[2]), Health: topology.Health{Type: topology.HealthTCP},
		}
		if service.Policy.Inspects() {
			service.Locality = topology.LocalityRules{Key: "path", Low: 25, High: 65, Decay: 20 * time.Second, Bound: 1.25, Silent: topology.Silent{After: 3 * time.Second, Then: "close"}}
		}
		services = append(services, service)
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
		case "cleared":
			agent.Cleared = uint64(number(s.t, value))
		case "suspects", "agentless":
			agent.Suspects = s.suspicions(value, key == "agentless")
		default:
			agent.Services[topology.ServiceName(key)] = s.health(value)
		}
	}
	putAgent(s.t, s.store, agent)
}

// set writes as an agent does that knows of no leader.
func (s *story) set(args []string) {
	set := state.Locality{Service: topology.ServiceName(args[0]), Bucket: number(s.t, args[1]), Changed: s.now, Writer: "n1"}
	for name := range strings.SplitSeq(args[2], ",") {
		set.Nodes = append(set.Nodes, topology.NodeName(name))
	}
	if err := s.store.PutLocalities(s.t.Context(), []state.Locality{set}); err != nil {
		s.t.Fatal(err)
	}
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
	in := s.in
	in.Config, in.View, in.Now, in.LoadsAt = s.config, viewOf(s.t, s.store), s.now, s.loadsAt
	for i := range in.Fresh.Cookie {
		in.Fresh.Cookie[i] = [state.CookieKeyLen]byte{s.made, byte(i)}
	}
	return Decide(in)
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

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// courtroom makes the Input of a judgement on n1 to n<nodes>, ids alike, all up
// and of boot b1, but for what the words say:
//
//	n1:n2,n3     n1 hears nothing of n2 and n3
//	n1~n2        n1 hears no agent at n2 since 40 s, its programs answer
//	n1!n2        n1 hears nothing of n2, last 550 ms ago
//	n1?n2        n1's words are about another boot of n2
//	n1 gone      n1's lease ran out
//	n1 down      no carrier
//	n1 boot      its agent is of another boot
//	n1 failed silence, n1 back 100ms     it did, and was, so long ago
//	all          everybody hears nothing of everybody
//	deaf 100ms   nobody heard anybody, last so long ago
//	s1 away, s1 back 100ms               the switch is not connected, or only so long
func courtroom(t *testing.T, nodes int, words []string) Input {
	config := topology.Default()
	config.Failure.Grace = 30 * time.Second
	in := Input{
		Config: config, Now: noon, Down: map[topology.NodeName]bool{},
		Away: map[topology.SwitchName]bool{}, Back: map[topology.SwitchName]time.Time{},
		View: state.View{Nodes: map[topology.NodeName]state.Node{}, Agents: map[topology.NodeName]state.Agent{}, Failures: map[uint64]state.Failure{}},
	}
	for i := 1; i <= nodes; i++ {
		name := topology.NodeName(fmt.Sprintf("n%d", i))
		in.Config.Nodes = append(in.Config.Nodes, topology.Node{Name: name, Switch: "s1"})
		in.View.Nodes[name] = state.Node{Name: name, ID: topology.NodeID(i), State: state.NodeUp, Incarnation: "b1"}
		in.View.Agents[name] = state.Agent{Name: name, Incarnation: "b1", Suspects: map[topology.NodeName]state.Suspicion{}}
	}
	for _, word := range words {
		if i := strings.IndexAny(word, ":~?!"); i > 0 {
			accuse(in, topology.NodeName(word[:i]), word[i], word[i+1:])
			continue
		}
		switch fields := strings.Fields(word); fields[0] {
		case "all":
			accuseAll(in)
		case "s1":
			befallSwitch(t, in, fields[1:])
		case "deaf":
			in.Deaf = noon.Add(-duration(t, fields[1]))
		default:
			befall(t, in, fields)
		}
	}
	return in
}

func accuseAll(in Input) {
	for reporter := range in.View.Agents {
		for name := range in.View.Agents {
			if name != reporter {
				accuse(in, reporter, ':', string(name))
			}
		}
	}
}

func befallSwitch(t *testing.T, in Input, words []string) {
	if words[0] == "away" {
		in.Away["s1"] = true
		return
	}
	in.Back["s1"] = noon.Add(-duration(t, words[1]))
}

func accuse(in Input, reporter topology.NodeName, how byte, list string) {
	for name := range strings.SplitSeq(list, ",") {
		suspicion := state.Suspicion{Since: noon.Add(-40 * time.Second), Agentless: how == '~', Incarnation: "b1"}
		switch how {
		case '?':
			suspicion.Incarnation = "b0"
		case '!':
			suspicion.Since = noon.Add(-550 * time.Millisecond)
		}
		in.View.Agents[reporter].Suspects[topology.NodeName(name)] = suspicion
	}
}

func befall(t *testing.T, in Input, words []string) {
	name := topology.NodeName(words[0])
	node, agent := in.View.Nodes[name], in.View.Agents[name]
	f := state.Failure{Epoch: uint64(node.ID), Node: name}
	switch words[1] {
	case "gone":
		delete(in.View.Agents, name)
	case "down":
		in.Down[name] = true
	case "boot":
		agent.Incarnation = "b2"
		in.View.Agents[name] = agent
	case "failed":
		f.Reason = state.FailureReason(words[2])
		node.State, node.Failure = state.NodeFailed, f.Epoch
		in.View.Failures[f.Epoch] = f
	case "back":
		left := noon.Add(-duration(t, words[2]))
		f.Left, node.Failure = &left, f.Epoch
		in.View.Failures[f.Epoch] = f
	default:
		t.Fatalf("what is %v?", words)
	}
	in.View.Nodes[name] = node
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name  string
		nodes int
		words []string
		want  string
	}{
		{"nothing is wrong", 3, nil, ""},
		{"no carrier", 3, []string{"n2 down"}, "n2 link-down"},
		{"no carrier at the last one", 3, []string{"n1 gone", "n2 down", "n3 failed silence"}, "n2? last-node"},
		{"no carrier anywhere", 3, []string{"n1 down", "n2 down", "n3 down"}, "n3 link-down, n2 link-down, n1? last-node"},
		{"another boot", 3, []string{"n2 boot"}, "n2 reboot"},
		{"another boot of a lost node", 1, []string{"n1 boot"}, "n1 reboot"},
		{"another boot of a failed node is its return", 3, []string{"n2 failed silence", "n2 boot"}, ""},
		{"two reporters", 3, []string{"n1:n2", "n3:n2"}, "n2 silence by n1 n3"},
		{"one of two reporters", 3, []string{"n1:n2"}, "n2? one-reporter"},
		{"a reporter whose agent is gone", 4, []string{"n1:n2", "n3:n2", "n3 gone"}, "n2? one-reporter"},
		{"a reporter that failed", 5, []string{"n1:n2", "n3:n2", "n3 failed link-down"}, "n2? one-reporter"},
		{"a reporter that fails now", 5, []string{"n1:n2", "n3:n2", "n3 down"}, "n3 link-down, n2? one-reporter"},
		{"a reporter that was rebooted", 5, []string{"n1:n2", "n3:n2", "n3 boot"}, "n3 reboot, n2? one-reporter"},
		{"a reporter that is back for a moment only", 4, []string{"n1:n2", "n3:n2", "n3 back 100ms"}, "n2? one-reporter"},
		{"a reporter that is back for long enough", 4, []string{"n1:n2", "n3:n2", "n3 back 2s"}, "n2 silence by n1 n3"},
		{"back for a moment only", 4, []string{"n1:n2", "n3:n2", "n2 back 100ms"}, ""},
		{"words about another boot", 3, []string{"n1?n2", "n3?n2"}, ""},
		{"no more than one other is up", 3, []string{"n1:n2", "n3 gone"}, "n2 silence by n1"},
		{"and that one has the higher id", 3, []string{"n2:n1", "n3 gone"}, "n1? lower-id-stays"},
		{"of two the lower id stays", 2, []string{"n1:n2", "n2:n1"}, "n2 silence by n1"},
		{"of two the lower id stays though the other hears it not", 2, []string{"n2:n1"}, "n1? lower-id-stays"},
		{"of two the lower id goes when its agent is gone too", 2, []string{"n2:n1", "n1 gone"}, "n1 silence by n2"},
		{"of two only one goes", 2, []string{"n2:n1", "n1 gone", "n2 failed silence"}, ""},
		{"a minority", 5, []string{"n1:n4,n5", "n2:n4,n5"}, "n5 silence by n1 n2, n4 silence by n1 n2"},
		{"no majority", 5, []string{"n1:n3,n4,n5", "n2:n3,n4,n5"}, "n5 silence by n1 n2, n4 silence by n1 n2, n3? only-minority"},
		{"those who failed before count", 5, []string{"n1:n4", "n2:n4", "n3 failed silence", "n5 failed agentless"}, "n4? only-minority"},
		{"those who failed for sure do not", 5, []string{"n1:n4", "n2:n4", "n3 failed reboot", "n5 failed link-down"}, "n4 silence by n1 n2"},
		{"half of four is no minority", 4, []string{"n1:n3,n4", "n2:n3,n4"}, "n4 silence by n1 n2, n3? only-minority"},
		{"both sides of a partition", 5, []string{"n1:n3,n4,n5", "n2:n3,n4,n5", "n3:n1,n2", "n4:n1,n2", "n5:n1,n2"}, "n2 silence by n3 n4 n5, n1 silence by n3 n4 n5"},
		{"who hears nobody is not believed", 4, []string{"n1:n2,n3,n4", "n2:n1", "n3:n1", "n4:n1"}, "n1 silence by n2 n3 n4"},
		{"two who do not hear each other", 4, []string{"n1:n2,n4", "n2:n4"}, "n4? nobody-hears, n2? one-reporter"},
		{"two of three who hear each other", 5, []string{"n1:n2,n3,n5", "n2:n5", "n3:n5"}, "n5 silence by n1 n2 n3, n3? one-reporter, n2? one-reporter"},
		{"two who hear each other's programs", 4, []string{"n1~n2", "n1:n4", "n2:n4"}, "n4 silence by n1 n2, n2? one-reporter"},
		{"two who did not hear each other's last boot", 4, []string{"n1?n2", "n1:n4", "n2:n4"}, "n4 silence by n1 n2"},
		{"nobody hears anybody of four", 4, []string{"all"}, "n4? nobody-hears, n3? nobody-hears, n2? nobody-hears, n1? nobody-hears"},
		{"nobody hears anybody of six", 6, []string{"all"}, "n6? nobody-hears, n5? nobody-hears, n4? nobody-hears, n3? nobody-hears, n2? nobody-hears, n1? nobody-hears"},
		{"half of four hears the other half not", 4, []string{"n1:n3,n4", "n2:n3,n4", "n3:n1,n2", "n4:n1,n2"}, "n4 silence by n1 n2, n3? only-minority, n2? one-reporter, n1? one-reporter"},
		{"two who hear each other, while the switch is away", 3, []string{"n1:n2", "n3:n2", "s1 away"}, "n2 silence by n1 n3"},
		{"of two nobody hears the other", 2, []string{"all"}, "n2 silence by n1"},
		{"of two nobody hears the other, while the switch is away", 2, []string{"all", "s1 away"}, "n2? switch-away, n1? lower-id-stays"},
		{"of two nobody hears the other, when the switch has just come back", 2, []string{"all", "s1 back 100ms"}, "n2? switch-away, n1? lower-id-stays"},
		{"of two nobody hears the other, long after the switch came back", 2, []string{"all", "s1 back 2s"}, "n2 silence by n1"},
		{"nobody heard anybody a moment ago", 3, []string{"n1:n2", "n3:n2", "deaf 100ms"}, "n2? nobody-hears"},
		{"nobody heard anybody long ago", 3, []string{"n1:n2", "n3:n2", "deaf 2s"}, "n2 silence by n1 n3"},
		{"two to whom others may be silent in a moment", 3, []string{"n1!n2", "n3!n2"}, ""},
		{"two, of whom to one others may be silent in a moment", 3, []string{"n1:n2", "n3!n2"}, "n2? one-reporter"},
		{"of two nobody waits for others", 2, []string{"n1!n2"}, "n2 silence by n1"},
		{"agentless for the grace", 3, []string{"n1~n2", "n3~n2"}, "n2 agentless by n1 n3"},
		{"agentless for one, silent for another", 4, []string{"n1~n2", "n3:n2"}, "n2 agentless by n1 n3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, judged(courtroom(t, tt.nodes, tt.words))); diff != "" {
				t.Errorf("judgement (-want +got):\n%s", diff)
			}
		})
	}
}

// judged is a judgement in words, the highest id first.
func judged(in Input) string {
	ids := map[topology.NodeName]topology.NodeID{}
	for name, node := range in.View.Nodes {
		ids[name] = node.ID
	}
	j := newJudge(in, ids, nil)
	j.run()
	var words []string
	for _, s := range j.subjects {
		if v, failed := j.verdicts[s.name]; failed {
			text := fmt.Sprintf("%s %s", s.name, v.reason)
			if len(v.reporters) > 0 {
				text += " by " + strings.Trim(fmt.Sprint(v.reporters), "[]")
			}
			words = append(words, text)
		}
	}
	for _, w := range j.warnings {
		words = append(words, fmt.Sprintf("%s? %s", w.Node, w.Reason))
	}
	return strings.Join(words, ", ")
}

// TestJudgeWaits: what may be decided later is asked for then.
func TestJudgeWaits(t *testing.T) {
	in := courtroom(t, 3, []string{"n1~n2", "n3~n2"})
	in.Config.Failure.Grace = time.Minute
	j := newJudge(in, map[topology.NodeName]topology.NodeID{"n1": 1, "n2": 2, "n3": 3}, nil)
	j.run()
	if want := noon.Add(20 * time.Second); len(j.verdicts) > 0 || !j.next.Equal(want) {
		t.Errorf("verdicts %v, next %v: want none before %v", j.verdicts, j.next, want)
	}
}

// TestJudgeWaitsForOthers: a silence is judged when one of all would have shown,
// and at once where clocks differ by more than that takes.
func TestJudgeWaitsForOthers(t *testing.T) {
	ids := map[topology.NodeName]topology.NodeID{"n1": 1, "n2": 2, "n3": 3}
	in := courtroom(t, 3, []string{"n1!n2", "n3!n2"})
	j := newJudge(in, ids, nil)
	j.run()
	if want := noon.Add(150 * time.Millisecond); len(j.verdicts) > 0 || !j.next.Equal(want) {
		t.Errorf("verdicts %v, next %v: want none before %v", j.verdicts, j.next, want)
	}
	in.Now = noon.Add(-time.Second)
	if got, want := judged(in), "n2 silence by n1 n3"; got != want {
		t.Errorf("by a clock that is slow: %q, want %q", got, want)
	}
}

// TestJudgeWaitsForTheSwitch: what only its return may explain is asked again.
func TestJudgeWaitsForTheSwitch(t *testing.T) {
	j := newJudge(courtroom(t, 2, []string{"all", "s1 back 100ms"}), map[topology.NodeName]topology.NodeID{"n1": 1, "n2": 2}, nil)
	j.run()
	if want := noon.Add(2*j.silence() - 100*time.Millisecond); !j.next.Equal(want) {
		t.Errorf("next %v, want %v", j.next, want)
	}
}

func TestDeaf(t *testing.T) {
	tests := []struct {
		nodes int
		words []string
		want  bool
	}{
		{3, nil, false},
		{3, []string{"all"}, true},
		{2, []string{"all"}, false},
		{3, []string{"n1:n2,n3", "n2:n3"}, true},
		{4, []string{"n1:n2,n3,n4", "n2:n1,n3,n4"}, false},
		{3, []string{"all", "n3 gone"}, false},
	}
	for _, tt := range tests {
		if got := Decide(courtroom(t, tt.nodes, tt.words)).Deaf; got != tt.want {
			t.Errorf("%d nodes, %v: deaf %t", tt.nodes, tt.words, got)
		}
	}
}

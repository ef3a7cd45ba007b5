// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestEventChoice(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	events := []state.Event{
		{Seq: 1, Time: now.Add(-time.Hour), Kind: "node_up", Node: "n1"},
		{Seq: 2, Time: now.Add(-time.Minute), Kind: "node_failed", Node: "n2"},
		{Seq: 3, Time: now, Kind: "node_failed", Node: "n1"},
	}
	tests := []struct {
		name   string
		choice eventChoice
		want   []uint64
	}{
		{"all", eventChoice{}, []uint64{1, 2, 3}},
		{"of a node", eventChoice{node: "n1"}, []uint64{1, 3}},
		{"of a kind", eventChoice{kind: "node_failed"}, []uint64{2, 3}},
		{"of late", eventChoice{last: time.Minute}, []uint64{2, 3}},
		{"none", eventChoice{node: "n3"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint64
			for _, event := range tt.choice.choose(events, now) {
				got = append(got, event.Seq)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFailedNodesInStatus(t *testing.T) {
	fenced := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		spoil func(*state.View)
		want  string
	}{
		{"fenced", func(v *state.View) {
			failN2(v, state.Failure{Epoch: 4, Node: "n2", Reason: state.FailureSilence, Fenced: &fenced})
		}, "failed: silence, fenced"},
		{"not fenced", func(v *state.View) {
			failN2(v, state.Failure{Epoch: 4, Node: "n2", Reason: state.FailureLinkDown})
		}, "failed: link-down, not fenced yet"},
		{"suspected", func(v *state.View) { suspectN2(v, "boot") }, "suspected by n1"},
		{"suspected before it was booted", func(v *state.View) { suspectN2(v, "another") }, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			view := testView()
			tt.spoil(&view)
			if got := reportNodes(view)[1].Health; got != tt.want {
				t.Errorf("health %q, want %q", got, tt.want)
			}
		})
	}
}

func TestViolationsInStatus(t *testing.T) {
	view := testView()
	agent := view.Agents["n2"]
	agent.Violations = map[string]uint64{"double_owner": 2, "stray_rst": 0}
	view.Agents["n2"] = agent
	report := reportStatus(view, "demo", nil)
	want := []string{"node n2: saw invariant double_owner violated, 2 times since its programs were loaded"}
	if diff := cmp.Diff(want, report.Warnings); diff != "" || !report.Healthy {
		t.Errorf("healthy: %t, warnings (-want +got):\n%s", report.Healthy, diff)
	}
}

func failN2(v *state.View, failure state.Failure) {
	node := v.Nodes["n2"]
	node.State, node.Failure = state.NodeFailed, failure.Epoch
	v.Nodes["n2"] = node
	v.Failures = map[uint64]state.Failure{failure.Epoch: failure}
}

// suspectN2 lets n1 hear nothing of one incarnation of n2, whose own is boot.
func suspectN2(v *state.View, incarnation string) {
	node, agent := v.Nodes["n2"], v.Agents["n1"]
	node.Incarnation = "boot"
	agent.Suspects = map[topology.NodeName]state.Suspicion{"n2": {Incarnation: incarnation}}
	v.Nodes["n2"], v.Agents["n1"] = node, agent
}

func TestEventLines(t *testing.T) {
	event := eventReport{Seq: 7, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Kind: "node_failed", Node: "n2", Text: "node n2 failed"}
	tests := []struct{ format, want string }{
		{outputJSON, `{"seq":7,"time":"2026-03-01T12:00:00Z","kind":"node_failed","node":"n2","text":"node n2 failed"}` + "\n"},
		{outputYAML, "---\nkind: node_failed\nnode: n2\nseq: 7\ntext: node n2 failed\ntime: \"2026-03-01T12:00:00Z\"\n"},
		{outputTable, event.Time.Local().Format(eventTime) + "  node_failed  node n2 failed\n"},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			var out strings.Builder
			if err := (&outputFlag{tt.format}).writeLine(&out, event); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

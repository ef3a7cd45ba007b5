// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// suspect has an agent suspect some of the others, of this boot or another.
func (r *randomCluster) suspect(t *rapid.T) {
	view := r.view(t)
	agent, alive := view.Agents[nodeName.Draw(t, "reporter")]
	if !alive {
		return
	}
	agent.Suspects = map[topology.NodeName]state.Suspicion{}
	for _, name := range rapid.SliceOfDistinct(nodeName, rapid.ID).Draw(t, "suspects") {
		agent.Suspects[name] = state.Suspicion{
			Since:       r.now.Add(-time.Duration(rapid.IntRange(-5, 60).Draw(t, "silent")) * time.Second),
			Agentless:   rapid.Bool().Draw(t, "agentless"),
			Incarnation: rapid.SampledFrom([]string{"b1", "b1", "b1", "b2"}).Draw(t, "boot"),
		}
	}
	r.put(t, "agents/"+string(agent.Name), agent)
}

// storm has all agents suspect the same nodes.
func (r *randomCluster) storm(t *rapid.T) {
	view := r.view(t)
	silent := rapid.SliceOfDistinct(nodeName, rapid.ID).Draw(t, "silent")
	for _, reporter := range sortedKeys(view.Agents) {
		agent := view.Agents[reporter]
		agent.Suspects = map[topology.NodeName]state.Suspicion{}
		for _, name := range silent {
			if name != reporter {
				agent.Suspects[name] = state.Suspicion{Since: r.now, Incarnation: view.Nodes[name].Incarnation}
			}
		}
		r.put(t, "agents/"+string(reporter), agent)
	}
}

// clear has a failed node's agent say that its sockets are gone.
func (r *randomCluster) clear(t *rapid.T) {
	view := r.view(t)
	if agent, alive := view.Agents[nodeName.Draw(t, "cleared")]; alive {
		agent.Cleared = view.Nodes[agent.Name].Failure
		r.put(t, "agents/"+string(agent.Name), agent)
	}
}

// checkFailures: the epochs of failures grow; what fails by silence is no
// majority and not the last; a node comes back after its fence, and with nothing
// of what it was.
func (r *randomCluster) checkFailures(t *rapid.T, before, after state.View) {
	newest := r.epoch
	bySilence := 0
	for epoch, f := range after.Failures {
		if _, known := before.Failures[epoch]; known {
			continue
		}
		if epoch <= r.epoch {
			t.Fatalf("failure %d after failure %d", epoch, r.epoch)
		}
		newest = max(newest, epoch)
		if f.Reason != state.FailureLinkDown && f.Reason != state.FailureReboot {
			bySilence++
		}
	}
	r.epoch = newest
	if bySilence > 0 {
		checkMinority(t, after)
	}
	for name, node := range after.Nodes {
		if f := after.Failures[node.Failure]; node.State == state.NodeFailed && (f.Node != name || f.Left != nil) {
			t.Fatalf("%s failed, its failure is %+v", name, f)
		}
		if was := before.Nodes[name]; was.State == state.NodeFailed && node.State == state.NodeUp {
			checkReturn(t, before.Failures[was.Failure], after.Agents[name], r.now)
		}
	}
}

func checkMinority(t *rapid.T, view state.View) {
	seen, up, bySilence := 0, 0, 0
	for _, node := range view.Nodes {
		switch node.State {
		case state.NodeExpected:
			continue
		case state.NodeUp:
			up++
		case state.NodeFailed:
			if reason := view.Failures[node.Failure].Reason; reason == state.FailureSilence || reason == state.FailureAgentless {
				bySilence++
			}
		}
		seen++
	}
	if up == 0 || seen > 2 && 2*bySilence >= seen || seen <= 2 && bySilence > 1 {
		t.Fatalf("%d of %d nodes failed by silence, %d are up", bySilence, seen, up)
	}
}

func checkReturn(t *rapid.T, f state.Failure, agent state.Agent, now time.Time) {
	if f.Fenced == nil || now.Sub(*f.Fenced) < guardsTime {
		t.Fatalf("back at %v, fenced at %v", now, f.Fenced)
	}
	if agent.Cleared < f.Epoch && agent.Incarnation == f.Incarnation {
		t.Fatalf("back from %+v with %+v", f, agent)
	}
}

// checkRing: the events are those that happened last, none is missing.
func checkRing(t *rapid.T, events []state.Event) {
	for i := range events[1:] {
		if events[i+1].Seq != events[i].Seq+1 {
			t.Fatalf("event %d after %d", events[i+1].Seq, events[i].Seq)
		}
	}
	if !slices.IsSortedFunc(events, func(a, b state.Event) int { return a.Time.Compare(b.Time) }) {
		t.Fatal("events are not in the order of time")
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// nodeReport is one server machine as the cluster sees it.
type nodeReport struct {
	Name  topology.NodeName `json:"name"`
	ID    topology.NodeID   `json:"id"`
	State state.NodeState   `json:"state"`
	Since time.Time         `json:"since"` // of State
	// Health sums up: ok, draining, or what keeps the node from being picked.
	Health   string              `json:"health"`
	Weight   uint16              `json:"weight"`
	Active   uint32              `json:"active"`  // connections now, all services
	Adopted  uint64              `json:"adopted"` // connections since the node's boot
	Share    float64             `json:"share"`   // of all adopted, 0..1
	Primary  int                 `json:"primary_slots"`
	Second   int                 `json:"secondary_slots"`
	MAC      topology.MAC        `json:"mac"`
	Switch   topology.SwitchName `json:"switch"`
	Port     string              `json:"port"`
	Version  string              `json:"version,omitempty"`
	Kernel   string              `json:"kernel,omitempty"`
	Warnings []string            `json:"warnings,omitempty"`
	// Violations of the invariants that the node saw, by their names.
	Violations map[string]uint64 `json:"violations,omitempty"`
}

// healthOK is the health of a node and of a service on it where there is
// nothing to say.
const healthOK = "ok"

// draining is a state that an operator asked for: not picked, and not ill.
const draining = "draining"

// well tells whether nobody needs to look at the node.
func (n nodeReport) well() bool { return n.Health == healthOK || n.Health == draining }

// reportNodes gives all members in the order of their names.
func reportNodes(view state.View) []nodeReport {
	reports := make([]nodeReport, 0, len(view.Nodes))
	var total uint64
	for _, node := range sortedNodes(view) {
		report := reportNode(view, node)
		total += report.Adopted
		reports = append(reports, report)
	}
	for i := range reports {
		reports[i].Share = share(reports[i].Adopted, total)
	}
	return reports
}

func reportNode(view state.View, node state.Node) nodeReport {
	agent := view.Agents[node.Name]
	report := nodeReport{
		Name: node.Name, ID: node.ID, State: node.State, Since: node.Since,
		Health: nodeHealth(view, node), Weight: node.Weight,
		MAC: node.MAC, Switch: node.Switch, Port: node.Port,
		Version: agent.Version, Kernel: agent.Kernel, Warnings: agent.Warnings, Violations: agent.Violations,
	}
	for _, service := range agent.Services {
		report.Active += service.Active
		report.Adopted += service.Adopted
	}
	report.Primary, report.Second = slotsOf(view.Slots, node.ID)
	return report
}

// nodeHealth says in a word or two why a node is not what it should be.
func nodeHealth(view state.View, node state.Node) string {
	agent, alive := view.Agents[node.Name]
	switch {
	case node.State == state.NodeFailed:
		return failedHealth(view, node)
	case node.State == state.NodeExpected:
		return "never seen"
	case node.State != state.NodeUp:
		return string(node.State)
	case !alive:
		return "agent silent"
	}
	if who := suspecting(view, node); len(who) > 0 {
		return "suspected by " + joinNames(who)
	}
	for _, name := range slices.Sorted(maps.Keys(agent.Services)) {
		if service := agent.Services[name]; !service.Healthy {
			return fmt.Sprintf("%s: %s", name, cmp.Or(service.Reason, "unhealthy"))
		}
	}
	if node.Draining {
		return draining
	}
	return healthOK
}

// failedHealth says how the node failed, and how far its replacement is.
func failedHealth(view state.View, node state.Node) string {
	failure, known := view.Failures[node.Failure]
	switch {
	case !known:
		return "failed"
	case failure.Fenced == nil:
		return fmt.Sprintf("failed: %s, not fenced yet", failure.Reason)
	}
	return fmt.Sprintf("failed: %s, fenced", failure.Reason)
}

// suspecting lists the nodes that hear nothing of a node's present incarnation.
func suspecting(view state.View, node state.Node) (who []topology.NodeName) {
	for _, agent := range view.Agents {
		if doubt, suspects := agent.Suspects[node.Name]; suspects && doubt.Incarnation == node.Incarnation {
			who = append(who, agent.Name)
		}
	}
	return who
}

func slotsOf(slots *state.Slots, id topology.NodeID) (primary, secondary int) {
	if slots == nil || !id.Valid() {
		return 0, 0
	}
	return count(slots.Primary, id), count(slots.Secondary, id)
}

func count(ids []topology.NodeID, id topology.NodeID) (n int) {
	for _, have := range ids {
		if have == id {
			n++
		}
	}
	return n
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

func sortedNodes(view state.View) []state.Node {
	return slices.SortedFunc(maps.Values(view.Nodes), func(a, b state.Node) int { return cmp.Compare(a.Name, b.Name) })
}

// nodesReport is what onevip nodes shows.
type nodesReport struct {
	Nodes []nodeReport `json:"nodes"`
}

func (r nodesReport) well() bool {
	return !slices.ContainsFunc(r.Nodes, func(n nodeReport) bool { return !n.well() })
}

func (r nodesReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Node", "ID", "State", "Health", "Weight", "ActiveConn", "Conns", "Share", "Primary", "Secondary", "MAC", "Port")
	for _, n := range r.Nodes {
		t.row(n.Name, n.ID, n.State, n.Health, n.Weight, n.Active, n.Adopted, percent(n.Share),
			n.Primary, n.Second, n.MAC, fmt.Sprintf("%s:%s", n.Switch, n.Port))
	}
	return t.flush()
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// statusReport is the cluster on one screen.
type statusReport struct {
	Cluster    string           `json:"cluster"`
	Healthy    bool             `json:"healthy"`
	Leader     string           `json:"leader,omitempty"`
	Etcd       etcdReport       `json:"etcd"`
	SlotEpoch  uint64           `json:"slot_epoch"`
	KeyEpoch   uint32           `json:"cookie_key_epoch"`
	Schedulers schedulersReport `json:"schedulers"`
	MAC        topology.MAC     `json:"mac"`
	Services   []serviceReport  `json:"services"`
	Nodes      []nodeReport     `json:"nodes"`
	Warnings   []string         `json:"warnings,omitempty"`
}

type etcdReport struct {
	Endpoints []string `json:"endpoints"`
	Revision  int64    `json:"revision"`
}

// schedulersReport says who answers SYNs.
type schedulersReport struct {
	Wanted topology.Schedulers `json:"wanted"`
	Nodes  []topology.NodeName `json:"nodes"` // primary of at least one slot
}

func reportStatus(view state.View, cluster string, endpoints []string) statusReport {
	report := statusReport{
		Cluster:  cluster,
		Leader:   view.Leader,
		Etcd:     etcdReport{Endpoints: endpoints, Revision: view.Revision},
		Services: reportServices(view),
		Nodes:    reportNodes(view),
	}
	if view.Cluster != nil {
		report.MAC, report.Schedulers.Wanted = view.Cluster.MAC, view.Cluster.Schedulers
	}
	if view.Slots != nil {
		report.SlotEpoch = view.Slots.Epoch
	}
	if view.Cookie != nil {
		report.KeyEpoch = view.Cookie.Epoch
	}
	for _, node := range report.Nodes {
		if node.Primary > 0 {
			report.Schedulers.Nodes = append(report.Schedulers.Nodes, node.Name)
		}
	}
	report.Warnings = append(troubles(report, view.Cluster != nil), laggards(view)...)
	report.Healthy = len(report.Warnings) == 0
	report.Warnings = append(report.Warnings, view.Problems...)
	report.Warnings = append(report.Warnings, violations(report.Nodes)...)
	report.Warnings = append(report.Warnings, preflight(report.Nodes)...)
	return report
}

// troubles are what makes a cluster unhealthy, the worst first.
func troubles(r statusReport, stored bool) (words []string) {
	if !stored {
		return []string{"nothing stored yet: is a controller running?"}
	}
	if r.Leader == "" {
		words = append(words, "no controller leads: the last known tables stay in force, nothing new is decided")
	}
	if len(r.Schedulers.Nodes) == 0 {
		words = append(words, "no node answers SYNs: the slot table is empty")
	}
	for _, service := range r.Services {
		if service.Pickable == 0 {
			words = append(words, fmt.Sprintf("service %s: no node may be picked; all get new connections (fail open)", service.Name))
		}
	}
	for _, node := range r.Nodes {
		if !node.well() {
			words = append(words, fmt.Sprintf("node %s: %s", node.Name, node.Health))
		}
	}
	return words
}

// laggards are nodes that have not installed the slot table in force.
func laggards(view state.View) (words []string) {
	if view.Slots == nil {
		return nil
	}
	for _, node := range sortedNodes(view) {
		agent, alive := view.Agents[node.Name]
		if alive && agent.SlotEpoch != view.Slots.Epoch {
			words = append(words, fmt.Sprintf("node %s: has slot epoch %d, %d is in force", node.Name, agent.SlotEpoch, view.Slots.Epoch))
		}
	}
	return words
}

// violations of the invariants are past: they stay to be read, and do not make a
// cluster unhealthy.
func violations(nodes []nodeReport) (words []string) {
	for _, node := range nodes {
		for _, invariant := range slices.Sorted(maps.Keys(node.Violations)) {
			if count := node.Violations[invariant]; count > 0 {
				words = append(words, fmt.Sprintf("node %s: saw invariant %s violated, %d times since its programs were loaded", node.Name, invariant, count))
			}
		}
	}
	return words
}

// preflight findings are advice: they do not make a cluster unhealthy.
func preflight(nodes []nodeReport) (words []string) {
	for _, node := range nodes {
		for _, warning := range node.Warnings {
			words = append(words, fmt.Sprintf("node %s: %s", node.Name, warning))
		}
	}
	return words
}

func (r statusReport) well() bool { return r.Healthy }

func (r statusReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Cluster", r.Cluster+" "+r.verdict())
	t.row("Leader", orNone(r.Leader))
	t.row("Etcd", fmt.Sprintf("%s, revision %d", orNone(strings.Join(r.Etcd.Endpoints, " ")), r.Etcd.Revision))
	t.row("Epoch", fmt.Sprintf("slots %d, cookie key %d", r.SlotEpoch, r.KeyEpoch))
	t.row("Schedulers", fmt.Sprintf("%s: %s", r.Schedulers.Wanted, orNone(joinNames(r.Schedulers.Nodes))))
	if err := t.flush(); err != nil {
		return err
	}
	for _, section := range []func(io.Writer) error{r.writeServices, r.writeNodes, r.writeWarnings} {
		if err := section(w); err != nil {
			return err
		}
	}
	return nil
}

func (r statusReport) verdict() string {
	if r.Healthy {
		return "(healthy)"
	}
	return "(NOT HEALTHY)"
}

func (r statusReport) writeServices(w io.Writer) error {
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("Service", "VIP", "Scheduler", "ActiveConn", "Conns", "Nodes")
	for _, s := range r.Services {
		t.row(s.Name, vips(s), s.scheduler(), s.Active, s.Adopted, fmt.Sprintf("%d of %d", s.Pickable, len(s.Nodes)))
	}
	return t.flush()
}

func (r statusReport) writeNodes(w io.Writer) error {
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("Node", "ID", "State", "Health", "Weight", "ActiveConn", "Conns", "Share", "Slots")
	for _, n := range r.Nodes {
		t.row(n.Name, n.ID, n.State, n.Health, n.Weight, n.Active, n.Adopted, percent(n.Share), n.Primary)
	}
	return t.flush()
}

func (r statusReport) writeWarnings(w io.Writer) error {
	if len(r.Warnings) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nWarnings\n  %s\n", strings.Join(r.Warnings, "\n  "))
	return err
}

func vips(s serviceReport) string {
	words := make([]string, len(s.VIPs))
	for i, vip := range s.VIPs {
		words[i] = netip.AddrPortFrom(vip, s.Port).String()
	}
	return strings.Join(words, " ")
}

func joinNames(names []topology.NodeName) string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = string(name)
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

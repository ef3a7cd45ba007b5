// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// serviceReport is one service and what each node has of it.
type serviceReport struct {
	Name     topology.ServiceName `json:"name"`
	VIPs     []netip.Addr         `json:"vips"`
	Port     uint16               `json:"port"`
	Policy   topology.Policy      `json:"policy"`
	Key      topology.LocalityKey `json:"key,omitempty"` // of a policy that looks at requests
	MaxConns uint32               `json:"max_conns,omitempty"`
	Active   uint32               `json:"active"`
	Adopted  uint64               `json:"adopted"`
	Pickable int                  `json:"pickable"` // nodes that may get new connections
	Nodes    []serverReport       `json:"nodes"`
}

// scheduler is the policy, and what it goes by.
func (s serviceReport) scheduler() string {
	if s.Key == "" {
		return string(s.Policy)
	}
	return fmt.Sprintf("%s by %s", s.Policy, s.Key)
}

// serverReport is one node's part of a service: a real server, as ipvsadm
// would call it.
type serverReport struct {
	Node     topology.NodeName `json:"node"`
	Weight   uint16            `json:"weight"`
	Active   uint32            `json:"active"`
	Adopted  uint64            `json:"adopted"`
	Share    float64           `json:"share"` // of the service's adopted, 0..1
	Pickable bool              `json:"pickable"`
	Reason   string            `json:"reason,omitempty"` // why it is not picked
}

// status is the reason, or ok.
func (s serverReport) status() string {
	if s.Pickable {
		return healthOK
	}
	return cmp.Or(s.Reason, "not picked")
}

// reportServices gives all services in the order of their names.
func reportServices(view state.View) []serviceReport {
	reports := make([]serviceReport, 0, len(view.Services))
	for _, service := range sortedServices(view) {
		reports = append(reports, reportService(view, service))
	}
	return reports
}

func sortedServices(view state.View) []state.Service {
	byName := func(a, b state.Service) int { return cmp.Compare(a.Name, b.Name) }
	return slices.SortedFunc(maps.Values(view.Services), byName)
}

func reportService(view state.View, service state.Service) serviceReport {
	report := serviceReport{
		Name: service.Name, VIPs: service.VIPs, Port: service.Port,
		Policy: service.Policy, MaxConns: service.MaxConns,
	}
	if service.Locality != nil {
		report.Key = service.Locality.Key
	}
	for _, node := range sortedNodes(view) {
		server := reportServer(view, service.Name, node)
		report.Active += server.Active
		report.Adopted += server.Adopted
		if server.Pickable {
			report.Pickable++
		}
		report.Nodes = append(report.Nodes, server)
	}
	for i := range report.Nodes {
		report.Nodes[i].Share = share(report.Nodes[i].Adopted, report.Adopted)
	}
	return report
}

// reportServer takes the numbers from the agent's own record, which is newer,
// and the judgement from the leader's.
func reportServer(view state.View, service topology.ServiceName, node state.Node) serverReport {
	agent := view.Agents[node.Name].Services[service]
	server := serverReport{Node: node.Name, Weight: node.Weight, Active: agent.Active, Adopted: agent.Adopted}
	load, known := view.Loads[service].Nodes[node.Name]
	switch {
	case known:
		server.Pickable, server.Reason = load.Pickable, load.Reason
	case node.State != state.NodeUp:
		server.Reason = string(node.State)
	case !agent.Healthy:
		server.Reason = cmp.Or(agent.Reason, "no report yet")
	default:
		server.Pickable = !node.Draining
	}
	return server
}

// servicesReport is what onevip services shows.
type servicesReport struct {
	Services []serviceReport `json:"services"`
}

// well tells whether each service has a node for new connections.
func (r servicesReport) well() bool {
	return !slices.ContainsFunc(r.Services, func(s serviceReport) bool { return s.Pickable == 0 })
}

// writeTable keeps the shape of ipvsadm -L -n: the service flush left, its
// servers below it behind an arrow.
func (r servicesReport) writeTable(w io.Writer) error {
	t := newTable(w)
	t.row("Prot LocalAddress:Port", "Scheduler", "Service")
	t.row("  -> Node", "Weight", "ActiveConn", "Conns", "Share", "Status")
	for _, service := range r.Services {
		for _, vip := range service.VIPs {
			t.row("TCP  "+netip.AddrPortFrom(vip, service.Port).String(), service.scheduler(), service.Name)
		}
		for _, s := range service.Nodes {
			t.row("  -> "+string(s.Node), s.Weight, s.Active, s.Adopted, percent(s.Share), s.status())
		}
	}
	return t.flush()
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// kernelCollector reads the filter's counters at each scrape.
type kernelCollector struct {
	mu      sync.Mutex   // guards filter to labels
	filter  filter       // nil: not loaded yet
	notices noticeReader // nil: not open yet
	labels  labels

	regressions atomic.Uint64 // beside the violations that the filter counts
}

var (
	activeDesc = prometheus.NewDesc("onevip_agent_active_connections",
		"Connections of this node now.", []string{"service"}, nil)
	adoptedDesc = prometheus.NewDesc("onevip_agent_adopted_total",
		"Connections that this node adopted, by the primary that assigned them.", []string{"service", "primary"}, nil)
	assignedDesc = prometheus.NewDesc("onevip_agent_assigned_total",
		"Connections that this node, as a scheduler, assigned, by owner.", []string{"service", "owner"}, nil)
	staleDesc = prometheus.NewDesc("onevip_agent_notices_stale_total",
		"Notices of the programs that the agent read too late to act on.", nil, nil)
	packetsDesc = prometheus.NewDesc("onevip_packets_total",
		"Packets that left the filter, by reason.", []string{"reason"}, nil)
	guardedDesc = prometheus.NewDesc("onevip_agent_guarded_connections",
		"Connections of other nodes that this node remembers as their guard, by owner.", []string{"owner"}, nil)
	orphansDesc = prometheus.NewDesc("onevip_agent_orphans_reset_total",
		"Segments of failed nodes' connections that this node answered with a RST.", nil, nil)
	youngDesc = prometheus.NewDesc("onevip_agent_adopted_young_total",
		"Segments by which this node took over connections that a failed one had only just got.", nil, nil)
	requestsDesc = prometheus.NewDesc("onevip_locality_requests_total",
		"Connections whose first request named their node, as far as this node inspected it, by outcome.", []string{"service", "outcome"}, nil)
	fallbacksDesc = prometheus.NewDesc("onevip_locality_fallbacks_total",
		"Connections that went by least connection because their first segment did not name a node, by reason.", []string{"service", "reason"}, nil)
	violationsDesc = prometheus.NewDesc("onevip_agent_invariant_violations_total",
		"What the filter or the agent saw that must never be, by invariant.", []string{"invariant"}, nil)
)

// setFilter tells where the counters are from now on.
func (k *kernelCollector) setFilter(f filter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.filter = f
}

// setNotices tells where the notices are from now on.
func (k *kernelCollector) setNotices(r noticeReader) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notices = r
}

// setNames takes the services to read, and the nodes' names, from a View. It
// gives the services that are gone.
func (k *kernelCollector) setNames(v state.View) (gone []topology.ServiceName) {
	services, inspected := map[topology.ServiceName]topology.ServiceID{}, map[topology.ServiceName]topology.ServiceID{}
	for name, s := range v.Services {
		services[name] = s.ID
		if s.Policy.Inspects() {
			inspected[name] = s.ID
		}
	}
	nodes := map[topology.NodeID]topology.NodeName{}
	for name, n := range v.Nodes {
		nodes[n.ID] = name
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.labels.services {
		if _, there := services[name]; !there {
			gone = append(gone, name)
		}
	}
	k.labels = labels{services, inspected, nodes}
	return gone
}

// Describe is prometheus.Collector.
func (k *kernelCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{activeDesc, adoptedDesc, assignedDesc, packetsDesc,
		guardedDesc, orphansDesc, youngDesc, requestsDesc, fallbacksDesc, violationsDesc, staleDesc} {
		ch <- d
	}
}

// labels are what the filter's numbers are called by. A value: setNames replaces it.
type labels struct {
	services  map[topology.ServiceName]topology.ServiceID
	inspected map[topology.ServiceName]topology.ServiceID // some of the services
	nodes     map[topology.NodeID]topology.NodeName
}

// sources gives what there is to read. The agent's loop waits for the lock, and
// reading takes its time.
func (k *kernelCollector) sources() (filter, noticeReader, labels) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.filter, k.notices, k.labels
}

// Collect is prometheus.Collector. A counter that can't be read is reported as
// invalid: the scrape fails loudly.
func (k *kernelCollector) Collect(ch chan<- prometheus.Metric) {
	f, notices, labels := k.sources()
	if f == nil {
		return
	}
	if notices != nil {
		ch <- prometheus.MustNewConstMetric(staleDesc, prometheus.CounterValue, float64(notices.Stale()))
	}
	reasons, err := f.Reasons()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(packetsDesc, err)
	}
	for reason, n := range reasons {
		ch <- prometheus.MustNewConstMetric(packetsDesc, prometheus.CounterValue, float64(n), reason)
	}
	labels.collectGuard(ch, f, reasons)
	ch <- prometheus.MustNewConstMetric(violationsDesc, prometheus.CounterValue, float64(k.regressions.Load()), epochRegression)
	for name, id := range labels.services {
		n, err := f.Counts(id)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(activeDesc, err)
			continue
		}
		labels.collectService(ch, name, &n)
	}
	for name, id := range labels.inspected {
		collectInspections(ch, f, name, id)
	}
}

// collectInspections reports what requests to one service led to.
func collectInspections(ch chan<- prometheus.Metric, f filter, name topology.ServiceName, id topology.ServiceID) {
	n, err := f.Inspections(id)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(requestsDesc, err)
		return
	}
	for outcome, total := range n.Outcomes {
		ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(total), string(name), outcome)
	}
	for reason, total := range n.Fallbacks {
		ch <- prometheus.MustNewConstMetric(fallbacksDesc, prometheus.CounterValue, float64(total), string(name), reason)
	}
}

func (l labels) collectService(ch chan<- prometheus.Metric, name topology.ServiceName, n *bpf.Counts) {
	ch <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, float64(n.Active), string(name))
	for id := range n.Adopted {
		if total := n.Adopted[id]; total > 0 {
			ch <- prometheus.MustNewConstMetric(adoptedDesc, prometheus.CounterValue, float64(total), string(name), l.nodeLabel(id))
		}
		if total := n.Assigned[id]; total > 0 {
			ch <- prometheus.MustNewConstMetric(assignedDesc, prometheus.CounterValue, float64(total), string(name), l.nodeLabel(id))
		}
	}
}

// collectGuard reports what this node does for others.
func (l labels) collectGuard(ch chan<- prometheus.Metric, f filter, reasons map[string]uint64) {
	orphans := reasons[bpf.ReasonResetOrphan.String()] + reasons[bpf.ReasonResetYoung.String()]
	ch <- prometheus.MustNewConstMetric(orphansDesc, prometheus.CounterValue, float64(orphans))
	young := reasons[bpf.ReasonAdoptedYoung.String()]
	ch <- prometheus.MustNewConstMetric(youngDesc, prometheus.CounterValue, float64(young))
	violations, err := f.Violations()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(violationsDesc, err)
	}
	for invariant, v := range violations {
		ch <- prometheus.MustNewConstMetric(violationsDesc, prometheus.CounterValue, float64(v.Times), invariant)
	}
	guarded, err := countGuarded(f)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(guardedDesc, err)
	}
	for owner, n := range guarded {
		ch <- prometheus.MustNewConstMetric(guardedDesc, prometheus.GaugeValue, float64(n), l.ownerLabel(owner))
	}
}

// countGuarded counts the records of other nodes' connections by owner.
func countGuarded(f filter) (map[topology.NodeID]int, error) {
	owners := make([]topology.NodeID, 0, topology.MaxNodeID+1)
	for id := range topology.MaxNodeID + 1 {
		owners = append(owners, id)
	}
	records, err := f.Guarded(owners...)
	if err != nil {
		return nil, err
	}
	out := map[topology.NodeID]int{}
	for _, r := range records {
		out[r.Owner]++
	}
	return out, nil
}

// ownerLabel is nodeLabel, or unknown.
func (l labels) ownerLabel(id topology.NodeID) string {
	if id == topology.Undecided {
		return "unknown"
	}
	return l.nodeLabel(int(id))
}

// nodeLabel is the node's name, or its id where it has none any more.
func (l labels) nodeLabel(id int) string {
	if name, ok := l.nodes[topology.NodeID(id)]; ok {
		return string(name)
	}
	return topology.NodeID(id).String()
}

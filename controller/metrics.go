// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/state"
)

// metrics are the controller's own numbers.
type metrics struct {
	leader, term, slotEpoch prometheus.Gauge
	etcdReachable           prometheus.Gauge
	warnings                prometheus.Gauge
	nodes                   *prometheus.GaugeVec   // state
	changes                 prometheus.Counter     // of the state
	flowChanges             *prometheus.CounterVec // switch, op
	sessions                *prometheus.GaugeVec   // switch
	failures                *prometheus.CounterVec // reason
	fenceSeconds            prometheus.Histogram
	returns                 prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		leader:        gauge("leader", "1 while this controller leads."),
		term:          gauge("term", "Term of the leader, whoever it is."),
		slotEpoch:     gauge("slot_epoch", "Epoch of the slot table in the store."),
		etcdReachable: gauge("etcd_reachable", "1 if the last word of the store was no error."),
		warnings:      gauge("warnings", "Things that are not as they should be until somebody acts; the log names them."),
		nodes:         gaugeVec("nodes", "Nodes by state.", "state"),
		changes: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "controller",
			Name: "state_changes_total", Help: "Records written or deleted by this leader."}),
		flowChanges: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "controller",
			Name: "flow_changes_total", Help: "Changes of flows and groups applied to switches."}, []string{"switch", "op"}),
		sessions: gaugeVec("switch_sessions", "1 while the switch is connected to this controller.", "switch"),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "controller",
			Name: "failures_total", Help: "Nodes that this leader declared failed."}, []string{"reason"}),
		fenceSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "onevip", Subsystem: "controller",
			Name: "fence_seconds", Help: "From the failure of a node to its fence being in force.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12)}),
		returns: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "controller",
			Name: "returns_total", Help: "Failed nodes that this leader took back under another id."}),
	}
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "onevip", Subsystem: "controller", Name: name, Help: help})
}

func gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "onevip", Subsystem: "controller", Name: name, Help: help}, labels)
}

// register makes the metrics visible until the function returned is called.
func (m *metrics) register(r prometheus.Registerer) (unregister func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	var done []prometheus.Collector
	unregister = func() {
		for _, c := range done {
			r.Unregister(c)
		}
	}
	all := []prometheus.Collector{
		m.leader, m.term, m.slotEpoch, m.etcdReachable, m.warnings, m.nodes, m.changes, m.flowChanges, m.sessions,
		m.failures, m.fenceSeconds, m.returns,
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			unregister()
			return nil, err
		}
		done = append(done, c)
	}
	return unregister, nil
}

// count takes over what was written; view is from before.
func (m *metrics) count(view state.View, changes []state.Change) {
	m.changes.Add(float64(len(changes)))
	for _, change := range changes {
		f, is := change.Record.(state.Failure)
		if !is || change.Delete {
			continue
		}
		before, known := view.Failures[f.Epoch]
		switch {
		case !known:
			m.failures.WithLabelValues(string(f.Reason)).Inc()
		case f.Fenced != nil && before.Fenced == nil:
			m.fenceSeconds.Observe(f.Fenced.Sub(f.Since).Seconds())
		case f.Left != nil && before.Left == nil:
			m.returns.Inc()
		}
	}
}

// show takes over what an update of the state says.
func (m *metrics) show(u state.Update) {
	m.etcdReachable.Set(oneIf(u.Err == nil))
	m.term.Set(float64(u.View.Term))
	count := map[state.NodeState]int{state.NodeExpected: 0, state.NodeUp: 0, state.NodeLost: 0, state.NodeFailed: 0}
	for _, node := range u.View.Nodes {
		count[node.State]++
	}
	for nodeState, n := range count {
		m.nodes.WithLabelValues(string(nodeState)).Set(float64(n))
	}
	if u.View.Slots != nil {
		m.slotEpoch.Set(float64(u.View.Slots.Epoch))
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/onevip/onevip/topology"
)

// metrics are the agent's own numbers. Those that the kernel keeps are read
// when somebody asks for them: kernelCollector.
type metrics struct {
	sent, sendFailed, received prometheus.Counter
	refused                    *prometheus.CounterVec // reason
	frameOverflow              prometheus.Counter
	asked, askFailed           prometheus.Counter
	suspected                  prometheus.Gauge
	speculated, resent         prometheus.Counter
	speculationFailed          prometheus.Counter
	standDowns                 prometheus.Counter
	etcdReachable, slotEpoch   prometheus.Gauge
	failOpen, pickable         *prometheus.GaugeVec // service
	connsStored, connsBacklog  prometheus.Gauge
	connsWritten               prometheus.Counter
	tableErrors                prometheus.Counter
	strays                     *prometheus.CounterVec // outcome
	probes, probesFailed       prometheus.Counter
	localitySets               *prometheus.GaugeVec // service
	localityWritten            prometheus.Counter
	kernel                     *kernelCollector
}

func newMetrics() *metrics {
	return &metrics{
		sent:              counter("heartbeats_sent_total", "Frames of heartbeats broadcast."),
		sendFailed:        counter("heartbeats_failed_total", "Frames of heartbeats that could not be sent."),
		received:          counter("heartbeats_received_total", "Frames of heartbeats taken from other nodes."),
		frameOverflow:     counter("heartbeats_overflow_total", "Frames dropped because the agent did not keep up."),
		asked:             counter("questions_sent_total", "Questions sent to other nodes' programs."),
		askFailed:         counter("questions_failed_total", "Questions that could not be sent."),
		suspected:         gauge("suspected_nodes", "Nodes that this one does not wait for: silent, and no answer to questions, or SYNs left unanswered."),
		speculated:        counter("speculations_total", "SYN/ACKs sent because the slot's primary had sent none in time."),
		speculationFailed: counter("speculations_failed_total", "SYN/ACKs in a silent primary's place that could not be sent."),
		resent:            counter("synacks_resent_total", "SYN/ACKs naming this node that were sent again: no connection had come of them."),
		standDowns:        counter("stand_downs_total", "Times that this node was declared failed and destroyed its connections."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "agent",
			Name: "heartbeats_refused_total", Help: "Frames of the heartbeats' EtherType that were not taken, by reason."}, []string{"reason"}),
		etcdReachable: gauge("etcd_reachable", "1 if the last word of the store was no error."),
		slotEpoch:     gauge("slot_epoch", "Epoch of the slot table in the kernel."),
		failOpen:      gaugeVec("fail_open", "1 while no node is healthy and unhealthy ones are picked."),
		pickable:      gaugeVec("pickable_nodes", "Nodes in this node's load table."),
		connsStored:   gauge("conns_stored", "Connections of this node in the store."),
		connsBacklog:  gauge("conns_backlog", "Connections that should be written to or deleted from the store."),
		connsWritten:  counter("conns_written_total", "Records of connections written or deleted."),
		tableErrors:   counter("table_errors_total", "Writes of tables into the kernel that failed."),
		strays:        newStrays(),
		probes:        counter("guard_probes_total", "Keep-alive probes sent to silent clients of failed nodes."),
		probesFailed:  counter("guard_probes_failed_total", "Keep-alive probes that could not be sent."),
		localitySets: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "onevip", Subsystem: "locality",
			Name: "sets", Help: "Buckets of keys that have other nodes than their home, as this node's filter has them."}, []string{"service"}),
		localityWritten: counter("localities_written_total", "Records of buckets written or deleted."),
		kernel:          &kernelCollector{},
	}
}

// newStrays shows all outcomes from the beginning.
func newStrays() *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "agent",
		Name: "strays_total", Help: "Connections of unknown owner that this node, acting for a failed one, asked the others about, by outcome."}, []string{"outcome"})
	for _, o := range outcomes {
		v.WithLabelValues(string(o))
	}
	return v
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "onevip", Subsystem: "agent", Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "onevip", Subsystem: "agent", Name: name, Help: help})
}

func gaugeVec(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "onevip", Subsystem: "agent", Name: name, Help: help}, []string{"service"})
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		m.sent, m.sendFailed, m.received, m.refused, m.frameOverflow, m.asked, m.askFailed, m.suspected,
		m.speculated, m.speculationFailed, m.resent, m.standDowns, m.etcdReachable, m.slotEpoch,
		m.failOpen, m.pickable, m.connsStored, m.connsBacklog, m.connsWritten, m.tableErrors,
		m.strays, m.probes, m.probesFailed, m.localitySets, m.localityWritten, m.kernel,
	}
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
	for _, c := range m.all() {
		if err := r.Register(c); err != nil {
			unregister()
			return nil, err
		}
		done = append(done, c)
	}
	return unregister, nil
}

func (m *metrics) countFrame(as refusal) {
	if as == accepted {
		m.received.Inc()
		return
	}
	m.refused.WithLabelValues(string(as)).Inc()
}

func (m *metrics) showPickable(p setPickable) {
	m.pickable.WithLabelValues(string(p.service)).Set(float64(p.nodes))
	m.failOpen.WithLabelValues(string(p.service)).Set(oneIf(p.failOpen))
}

// dropService forgets the series of a service that is gone.
func (m *metrics) dropService(name topology.ServiceName) {
	m.pickable.DeleteLabelValues(string(name))
	m.failOpen.DeleteLabelValues(string(name))
	m.localitySets.DeleteLabelValues(string(name))
}

func (m *metrics) showConns(stored, backlog int) {
	m.connsStored.Set(float64(stored))
	m.connsBacklog.Set(float64(backlog))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

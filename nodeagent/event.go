// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"log/slog"
	"net/netip"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// event is what core.Step is told.
type event interface{ isEvent() }

type (
	// viewChanged: the store delivered.
	viewChanged struct{ update state.Update }
	// frameReceived: a payload of the heartbeats' EtherType came in.
	frameReceived struct{ payload []byte }
	// answered: a node answered a question of this one, or of one before it.
	answered struct{ answer bpf.Answer }
	// checkEnded: failure is in words, empty for success.
	checkEnded struct {
		service topology.ServiceName
		check   state.Health // that was carried out
		failure string
	}
	// installed: how far the wanted tables are in the kernel now.
	installed struct {
		epoch  uint64 // of the slot table; 0: none
		failed []string
	}
	// notWritten: a setLoads or setSourceHash failed.
	notWritten struct{ service topology.ServiceID }
	// surveyed: the preflight's findings as they are now.
	surveyed struct{ warnings []string }
	// watchDue: it is time to look for silent nodes.
	watchDue struct{}
	// speculated: this node answered a SYN that its primary had left unanswered.
	speculated struct{ primary topology.NodeID }
	// stoodDown: how a standDown ended.
	stoodDown struct {
		epoch     uint64
		destroyed int
		err       error
	}
	// beatDue: it is time for a heartbeat.
	beatDue struct{ counts counts }
	// loadsDue: heartbeats came in, time to look at the load tables.
	loadsDue struct{ counts counts }
	// requestsSeen: what was asked for where this node inspected it.
	requestsSeen struct{ seen []state.LocalitySeen }
	// reportDue: a second has passed. violations are the filter's; nil: not known.
	reportDue struct{ violations map[string]bpf.Violation }
	// stopping: the agent ends.
	stopping struct{}
)

// counts are the kernel's totals at the time of an event. Services that could
// not be read are missing.
type counts map[topology.ServiceID]bpf.Counts

func (viewChanged) isEvent()   {}
func (frameReceived) isEvent() {}
func (answered) isEvent()      {}
func (checkEnded) isEvent()    {}
func (installed) isEvent()     {}
func (notWritten) isEvent()    {}
func (surveyed) isEvent()      {}
func (watchDue) isEvent()      {}
func (speculated) isEvent()    {}
func (stoodDown) isEvent()     {}
func (beatDue) isEvent()       {}
func (loadsDue) isEvent()      {}
func (requestsSeen) isEvent()  {}
func (reportDue) isEvent()     {}
func (stopping) isEvent()      {}

// action is what core.Step asks for.
type action interface{ isAction() }

type (
	// install brings the tables into the kernel, and answers with installed.
	install struct{ want tables }
	// setLoads writes the load table of one service.
	setLoads struct {
		service topology.ServiceID
		table   []bpf.Load
	}
	// setSourceHash writes the source-hash table of one service.
	setSourceHash struct {
		service topology.ServiceID
		table   []topology.NodeID
	}
	// send broadcasts heartbeats.
	send struct{ frames [][]byte }
	// pulse tells the programs that the agent lives.
	pulse struct{}
	// ask sends questions to other nodes' programs.
	ask struct{ questions []bpf.Question }
	// setSuspected names the nodes that the programs shall not wait for.
	setSuspected struct{ nodes []topology.NodeID }
	// standDown silences the programs, destroys all sockets of the VIPs, and
	// answers with stoodDown.
	standDown struct {
		epoch uint64 // of the failure
		vips  []netip.Addr
	}
	// runChecks replaces the health checks that are carried out.
	runChecks struct{ services []state.Service }
	// watchConns replaces what the connections' writer goes by.
	watchConns struct{ rules connRules }
	// publish gives the agent's record to the store.
	publish struct{ record state.Agent }
	// scheduleLoads asks for a loadsDue soon.
	scheduleLoads struct{}
	// countFrame counts a received frame, taken or refused.
	countFrame struct{ as refusal }
	// countRegression counts that the epoch of the slot table fell.
	countRegression struct{}
	// setPickable sets the metrics of one service.
	setPickable struct {
		service  topology.ServiceName
		nodes    int
		failOpen bool
	}
	// setReach says whether etcd is in reach.
	setReach struct{ ok bool }
	// say logs a change of state.
	say struct {
		level   slog.Level
		message string
		args    []any
	}
)

func (install) isAction()         {}
func (setLoads) isAction()        {}
func (setSourceHash) isAction()   {}
func (send) isAction()            {}
func (pulse) isAction()           {}
func (ask) isAction()             {}
func (setSuspected) isAction()    {}
func (standDown) isAction()       {}
func (runChecks) isAction()       {}
func (watchConns) isAction()      {}
func (publish) isAction()         {}
func (scheduleLoads) isAction()   {}
func (countFrame) isAction()      {}
func (countRegression) isAction() {}
func (setPickable) isAction()     {}
func (setReach) isAction()        {}
func (say) isAction()             {}

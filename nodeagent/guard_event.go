// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// guardEvent is what guardCore.Step is told.
type guardEvent interface{ isGuardEvent() }

type (
	// guardView: the store delivered.
	guardView struct{ view state.View }
	// strayNoticed: a client talks on a connection whose owner is not known here.
	strayNoticed struct{ flow bpf.Flow }
	// nodeAnswered: a node said whether it has a connection.
	nodeAnswered struct{ answer bpf.Answer }
	// recordsRead answers readRecords.
	recordsRead struct {
		epoch   uint64
		records []bpf.Guarded
		err     error
	}
	// lookedAgain answers lookAgain: the records, of those that have one.
	lookedAgain struct {
		findings []finding
		records  map[bpf.Flow]bpf.Guarded
		err      error
	}
	// connsRead answers readConns.
	connsRead struct {
		epoch uint64
		conns []state.Conn
		err   error
	}
	// connsDeleted answers deleteConns.
	connsDeleted struct {
		epoch uint64
		conns []state.Conn
		err   error
	}
	// failedNotSet: a setFailed failed.
	failedNotSet struct{}
	// paced: it is the time that next said.
	paced struct{}
)

func (guardView) isGuardEvent()    {}
func (strayNoticed) isGuardEvent() {}
func (nodeAnswered) isGuardEvent() {}
func (recordsRead) isGuardEvent()  {}
func (lookedAgain) isGuardEvent()  {}
func (connsRead) isGuardEvent()    {}
func (connsDeleted) isGuardEvent() {}
func (failedNotSet) isGuardEvent() {}
func (paced) isGuardEvent()        {}

// guardAction is what guardCore.Step asks for.
type guardAction interface{ isGuardAction() }

type (
	// setFailed tells the filter for whom this node acts.
	setFailed struct{ failed []bpf.Failed }
	// readRecords reads the filter's records of these owners.
	readRecords struct {
		epoch  uint64
		owners []topology.NodeID
	}
	// probe sends each client a keep-alive probe.
	probe struct{ records []bpf.Guarded }
	// lookAgain reads the filter's records of connections that nobody has: their clients may
	// have named an inspector meanwhile, or ever, that will decide.
	lookAgain struct{ findings []finding }
	// attribute tells the filter whose connections these are: a failed node's, and
	// the client gets a RST when it talks, or a live one's.
	attribute struct {
		flows []bpf.Flow
		owner topology.NodeID
	}
	// readConns reads the store's records of a node's connections.
	readConns struct {
		epoch uint64
		node  topology.NodeName
	}
	// deleteConns deletes some of them.
	deleteConns struct {
		epoch uint64
		conns []state.Conn
	}
	// countStray counts the end of an inquiry.
	countStray struct{ as outcome }
)

func (setFailed) isGuardAction()   {}
func (readRecords) isGuardAction() {}
func (probe) isGuardAction()       {}
func (lookAgain) isGuardAction()   {}
func (attribute) isGuardAction()   {}
func (readConns) isGuardAction()   {}
func (deleteConns) isGuardAction() {}
func (countStray) isGuardAction()  {}
func (ask) isGuardAction()         {}
func (say) isGuardAction()         {}

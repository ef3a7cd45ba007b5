// SPDX-License-Identifier: Apache-2.0

package state

import (
	"net/netip"
	"time"

	"github.com/onevip/onevip/topology"
)

// Schema is the version that every record carries. A reader refuses a newer
// one and says so.
const Schema = 1

// Cluster are the constants of the cluster that every node must agree on.
// Key: cluster. Written by the leader.
type Cluster struct {
	Schema            int                 `json:"schema"`
	Name              string              `json:"name"`
	MAC               topology.MAC        `json:"mac"`
	Schedulers        topology.Schedulers `json:"schedulers"`
	WindowScale       uint8               `json:"window_scale"`
	HeartbeatInterval Duration            `json:"heartbeat_interval"`
	HeartbeatMisses   int                 `json:"heartbeat_misses"`
	SpeculationDelay  topology.Delay      `json:"speculation_delay"`
	SpeculationMirror bool                `json:"speculation_mirror"`
	FailureGrace      Duration            `json:"failure_grace"`
	CookieRotate      Duration            `json:"cookie_rotate"`
	ConnsMinAge       Duration            `json:"conns_min_age"`
	ConnsMaxRate      int                 `json:"conns_max_rate"`
	// Created is when the first leader wrote the record. A store that lost its
	// data begins with revision 1 again; by this its terms still grow.
	Created time.Time `json:"created"`
}

// NodeState is what the leader holds of a node.
type NodeState string

const (
	// NodeExpected is a node of the configuration that was never seen.
	NodeExpected NodeState = "expected"
	// NodeUp has a live agent.
	NodeUp NodeState = "up"
	// NodeLost had an agent whose lease ran out. Its programs may still work.
	NodeLost NodeState = "lost"
	// NodeFailed was declared dead; Node.Failure says how it came to that. It is
	// fenced, and comes back under another id.
	NodeFailed NodeState = "failed"
)

// Node is a member. Key: nodes/<name>. Written by the leader; it outlives the
// agent's lease, and the id stays with the name.
type Node struct {
	Schema      int                 `json:"schema"`
	Name        topology.NodeName   `json:"name"`
	ID          topology.NodeID     `json:"id"`
	State       NodeState           `json:"state"`
	Draining    bool                `json:"draining,omitempty"`
	Weight      uint16              `json:"weight"`
	MAC         topology.MAC        `json:"mac"` // zero until known
	Switch      topology.SwitchName `json:"switch"`
	Port        string              `json:"port"`
	Incarnation string              `json:"incarnation,omitempty"`
	Since       time.Time           `json:"since"` // of State
	// Failure is the epoch of the node's newest failure; 0: it never failed.
	Failure uint64 `json:"failure,omitempty"`
}

// FailureReason is how a node was found to be dead.
type FailureReason string

// The reasons, the fastest to find first.
const (
	FailureLinkDown  FailureReason = "link-down" // its port on the switch has no carrier
	FailureReboot    FailureReason = "reboot"    // its agent reports another boot: the one before is gone
	FailureSilence   FailureReason = "silence"   // no heartbeat, and no answer to probes
	FailureAgentless FailureReason = "agentless" // answers probes, but its agent was silent for the grace
)

// Failure is the end of one incarnation of a node. Key: failures/<epoch>. Written
// by the leader together with the slot table that does without the node. Epochs grow.
type Failure struct {
	Schema      int                 `json:"schema"`
	Epoch       uint64              `json:"epoch"`
	Node        topology.NodeName   `json:"node"`
	ID          topology.NodeID     `json:"id"`
	Incarnation string              `json:"incarnation"`
	Reason      FailureReason       `json:"reason"`
	Reporters   []topology.NodeName `json:"reporters,omitempty"` // who suspected it
	// SlotEpoch is that of the first table without the node. SlotNodes and
	// SlotSchedulers are what the table before it was made from: who guards the
	// node's connections follows from them, see scheduler.Guards.
	SlotEpoch      uint64              `json:"slot_epoch"`
	SlotNodes      []topology.NodeID   `json:"slot_nodes"`
	SlotSchedulers topology.Schedulers `json:"slot_schedulers"`
	Since          time.Time           `json:"since"`
	// Fenced is when the switch was known to drop what the node sends and to give
	// it nothing more; before that nobody acts in its place.
	Fenced *time.Time `json:"fenced,omitempty"`
	// Left is when the node was back, under another id.
	Left *time.Time `json:"left,omitempty"`
}

// Event is something that an operator may ask about later. Key: events/<place>,
// Seq modulo EventRing, so that the newest EventRing of them are kept. Written by
// the leader, in the transaction that makes it true.
type Event struct {
	Schema int               `json:"schema"`
	Seq    uint64            `json:"seq"` // grows by one
	Time   time.Time         `json:"time"`
	Kind   string            `json:"kind"`
	Node   topology.NodeName `json:"node,omitempty"`
	Text   string            `json:"text"`
}

// EventRing is how many events are kept.
const EventRing = 256

// IDs are the ids that rest: their node or service left the configuration, but
// cookies and tables that name them may still be about. A name that returns
// gets its id back. Key: ids. Written by the leader.
type IDs struct {
	Schema   int                                     `json:"schema"`
	Nodes    map[topology.NodeName]RestingNode       `json:"nodes,omitempty"`
	Services map[topology.ServiceName]RestingService `json:"services,omitempty"`
	// Failed are the ids of nodes that failed and have another id now, or left.
	// They are given to nobody while they rest, not to those nodes either.
	Failed map[topology.NodeID]RestingFailed `json:"failed,omitempty"`
	// FailureEpoch is the highest epoch that a failure ever had, so that epochs
	// grow although old failures are deleted.
	FailureEpoch uint64 `json:"failure_epoch,omitempty"`
}

// RestingFailed is the last one to have an id, and until when it had it.
type RestingFailed struct {
	Node  topology.NodeName `json:"node"`
	Since time.Time         `json:"since"`
}

// RestingNode is the id of a node that left.
type RestingNode struct {
	ID    topology.NodeID `json:"id"`
	Since time.Time       `json:"since"`
}

// RestingService is the id of a service that left.
type RestingService struct {
	ID    topology.ServiceID `json:"id"`
	Since time.Time          `json:"since"`
}

// Candidate is a controller that leads or waits to lead. Key: leader/<lease>,
// under the candidate's lease; the oldest key leads.
type Candidate struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	// Term is the revision that created the key: it grows from leader to leader. It is the key's property, not a part of the value.
	Term uint64 `json:"-"`
}

// Agent is what an agent says of its node. Key: agents/<name>, under a lease:
// it is there as long as the agent lives and reaches etcd.
type Agent struct {
	Schema      int                                  `json:"schema"`
	Name        topology.NodeName                    `json:"name"`
	Incarnation string                               `json:"incarnation"` // the node's boot
	MAC         topology.MAC                         `json:"mac"`
	Interface   string                               `json:"interface"`
	Addresses   []netip.Addr                         `json:"addresses,omitempty"`
	Version     string                               `json:"version"`
	Kernel      string                               `json:"kernel"`
	Started     time.Time                            `json:"started"`
	SlotEpoch   uint64                               `json:"slot_epoch"` // installed in the BPF maps
	Services    map[topology.ServiceName]AgentHealth `json:"services,omitempty"`
	Warnings    []string                             `json:"warnings,omitempty"` // preflight findings, in words
	// Suspects are the nodes that this one hears nothing of, since when.
	Suspects map[topology.NodeName]Suspicion `json:"suspects,omitempty"`
	// Cleared is the epoch of the node's own newest failure after which it
	// destroyed the sockets of all VIPs: it may come back.
	Cleared uint64 `json:"cleared,omitempty"`
	// Violations counts, by invariant, what its programs saw that must never be.
	Violations map[string]uint64 `json:"violations,omitempty"`
	// Seen is written beside the record, at keys of its own and under the same
	// lease; a View has it in View.Seen.
	Seen []LocalitySeen `json:"-"`
}

// Suspicion is what a node says of another that sends no heartbeats.
type Suspicion struct {
	Since time.Time `json:"since"` // of the silence
	// Agentless: its programs answer probes, only its agent is silent.
	Agentless bool `json:"agentless,omitempty"`
	// Incarnation is that of the heartbeats that stopped.
	Incarnation string `json:"incarnation"`
}

// AgentHealth is one service on one node.
type AgentHealth struct {
	Healthy bool   `json:"healthy"`
	Reason  string `json:"reason,omitempty"` // why not
	Active  uint32 `json:"active"`           // connections now
	Adopted uint64 `json:"adopted"`          // connections ever, of this incarnation
}

// Service is a service in force. Key: services/<name>. Written by the leader.
type Service struct {
	Schema   int                  `json:"schema"`
	Name     topology.ServiceName `json:"name"`
	ID       topology.ServiceID   `json:"id"`
	VIPs     []netip.Addr         `json:"vips"`
	Port     uint16               `json:"port"`
	Policy   topology.Policy      `json:"policy"`
	MaxConns uint32               `json:"max_conns,omitempty"`
	Replay   topology.Replay      `json:"replay,omitempty"`
	Locality *LocalityRules       `json:"locality,omitempty"` // nil: the policy does not inspect
	Health   Health               `json:"health"`
}

// Health is topology.Health as stored.
type Health struct {
	Type     topology.HealthKind `json:"type"`
	Path     string              `json:"path,omitempty"`
	Interval Duration            `json:"interval"`
	Timeout  Duration            `json:"timeout"`
	Rise     int                 `json:"rise"`
	Fall     int                 `json:"fall"`
}

// Slots is the slot table. Key: slots. Written by the leader as a whole; its
// stored form is slotsJSON.
// Index: slot; length topology.SlotCount; 0: nobody.
type Slots struct {
	Schema    int
	Epoch     uint64 // grows with every change
	Primary   []topology.NodeID
	Secondary []topology.NodeID
	// Nodes and Schedulers are what the table was made from.
	Nodes      []topology.NodeID
	Schedulers topology.Schedulers
}

// CookieKeys are the SipHash keys of SYN cookies. Key: keys/cookie; secret.
// Epoch numbers Current; Previous and Next belong to Epoch-1 and Epoch+1.
// Cookies are issued under Current and accepted under all three, so that nodes
// may learn of a rotation at different times.
type CookieKeys struct {
	Schema   int       `json:"schema"`
	Epoch    uint32    `json:"epoch"`
	Previous Secret    `json:"previous"` // 16 bytes each
	Current  Secret    `json:"current"`
	Next     Secret    `json:"next"`
	Rotated  time.Time `json:"rotated"`
}

// HeartbeatKey authenticates heartbeats. Key: keys/heartbeat; secret, 32 bytes.
type HeartbeatKey struct {
	Schema int    `json:"schema"`
	Key    Secret `json:"key"`
}

// Load is the scheduler's summary of one service. Key: scheduler/<service>.
// Written by the leader from the agents' records, at most once a second.
type Load struct {
	Schema  int                            `json:"schema"`
	Service topology.ServiceName           `json:"service"`
	Nodes   map[topology.NodeName]NodeLoad `json:"nodes"`
}

// NodeLoad is one node's part of a Load.
type NodeLoad struct {
	Weight   uint16 `json:"weight"`
	Active   uint32 `json:"active"`
	Adopted  uint64 `json:"adopted"`
	Pickable bool   `json:"pickable"`
	Reason   string `json:"reason,omitempty"` // why it is not picked
}

// Conn is an established connection. Key:
// conns/<node>/<service>/<client address and port>. Written by the owner's
// agent once the connection is older than Cluster.ConnsMinAge, without a lease.
type Conn struct {
	Schema  int                  `json:"schema"`
	Node    topology.NodeName    `json:"node"`
	Service topology.ServiceName `json:"service"`
	Client  netip.AddrPort       `json:"client"`
	VIP     netip.AddrPort       `json:"vip"`
	Since   time.Time            `json:"since"`
}

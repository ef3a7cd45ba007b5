// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"log/slog"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// EventKind says what happened.
type EventKind string

// The kinds.
const (
	LeaderChanged     EventKind = "leader changed"
	ClusterChanged    EventKind = "cluster settings written"
	NodeAdded         EventKind = "node added"
	NodeUp            EventKind = "node up"
	NodeLost          EventKind = "node lost"
	NodeFailed        EventKind = "node failed"
	NodeFenced        EventKind = "node fenced"
	NodeBack          EventKind = "node back"
	NodeRestarted     EventKind = "node restarted"
	NodeChanged       EventKind = "node changed"
	NodeRemoved       EventKind = "node removed"
	ServiceAdded      EventKind = "service added"
	ServiceChanged    EventKind = "service changed"
	ServiceRemoved    EventKind = "service removed"
	SlotsMoved        EventKind = "slots moved"
	HeartbeatKeyMade  EventKind = "heartbeat key made"
	CookieKeysMade    EventKind = "cookie keys made"
	CookieKeysRotated EventKind = "cookie keys rotated"
)

// Event is one thing that a decision makes happen.
type Event struct {
	Kind    EventKind
	Node    topology.NodeName
	Service topology.ServiceName
	ID      int    // of Node or Service
	Epoch   uint64 // of slots, keys or the failure
	// Reason and Reporters are those of a failure.
	Reason    state.FailureReason
	Reporters string
	Text      string // all of it, where it is not made from the rest
}

// attrs are the event's details for the log.
func (e Event) attrs() []slog.Attr {
	var attrs []slog.Attr
	if e.Node != "" {
		attrs = append(attrs, slog.String("node", string(e.Node)), slog.Int("id", e.ID))
	}
	if e.Service != "" {
		attrs = append(attrs, slog.String("service", string(e.Service)), slog.Int("id", e.ID))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", string(e.Reason)))
	}
	if e.Reporters != "" {
		attrs = append(attrs, slog.String("reporters", e.Reporters))
	}
	if e.Text != "" {
		attrs = append(attrs, slog.String("text", e.Text))
	}
	if e.Epoch != 0 {
		attrs = append(attrs, slog.Uint64("epoch", e.Epoch))
	}
	return attrs
}

// level of the event in the log: the routine is for those who look closely.
func (e Event) level() slog.Level {
	switch e.Kind {
	case NodeLost, NodeFailed:
		return slog.LevelWarn
	case CookieKeysRotated, LeaderChanged:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// WarningReason says what is not as it should be.
type WarningReason string

// The reasons.
const (
	NoFreeID         WarningReason = "no-free-id"
	NoMAC            WarningReason = "no-mac"
	SameMAC          WarningReason = "same-mac"
	OtherMAC         WarningReason = "other-mac"
	NoNodeUp         WarningReason = "no-node-up"
	UnknownAgent     WarningReason = "unknown-agent"
	UnreadableRecord WarningReason = "unreadable-record"
	// A node that looks dead and is not declared failed, or one that failed and
	// is not fenced or not taken back.
	OneReporter  WarningReason = "one-reporter"
	OnlyMinority WarningReason = "only-minority"
	LowerIDStays WarningReason = "lower-id-stays"
	LastNode     WarningReason = "last-node"
	NotFenced    WarningReason = "not-fenced"
	NodeFlaps    WarningReason = "node-flaps"
	NobodyHears  WarningReason = "nobody-hears" // nor do those who suspect it hear each other
	SwitchAway   WarningReason = "switch-away"  // one other suspects it, and the switch was not connected then
)

// Warning is something that stays until somebody acts. Warnings can be compared.
type Warning struct {
	Reason WarningReason
	Node   topology.NodeName
	Text   string // what is wrong, and what to do
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"

	"github.com/onevip/onevip/topology"
)

// ErrNotLeader is returned by Leadership.Apply once another process leads, or
// the lease was lost: nothing was written.
var ErrNotLeader = errors.New("not the leader")

// View is the cluster's state at one revision, connections excepted. It is a
// value: whoever gets one may keep it, nobody changes it. Records that are not
// there yet are nil.
type View struct {
	Revision  int64
	Cluster   *Cluster
	Slots     *Slots
	Cookie    *CookieKeys
	Heartbeat *HeartbeatKey
	Nodes     map[topology.NodeName]Node
	Agents    map[topology.NodeName]Agent
	Services  map[topology.ServiceName]Service
	Loads     map[topology.ServiceName]Load
}

// Store is where the state lives: etcd (Dial), or memory (NewMemory) for tests
// of those who use it. Methods may be called concurrently.
type Store interface {
	// View reads everything once.
	View(ctx context.Context) (View, error)
	// Watch delivers a whole View now and after each change, the newest only:
	// a slow reader skips revisions. It goes on by itself when etcd comes back;
	// Update.Err tells when the store is out of reach, with the last View kept.
	// The channel is closed when ctx ends.
	Watch(ctx context.Context) <-chan Update
	// KeepAgent writes agents/<name> under a lease and keeps it alive until ctx
	// ends, then revokes it. Each record received replaces the one before;
	// after a loss of the lease the newest is written again under a new one.
	KeepAgent(ctx context.Context, records <-chan Agent) error
	// PutConns and DeleteConns write a batch, in transactions of at most 128.
	PutConns(ctx context.Context, conns []Conn) error
	DeleteConns(ctx context.Context, conns []Conn) error
	// Conns lists connections, all nodes' if node is empty, at most limit (0: all).
	Conns(ctx context.Context, node topology.NodeName, limit int) ([]Conn, error)
	// Campaign blocks until this process leads.
	Campaign(ctx context.Context, name string) (Leadership, error)
	Close() error
}

// Update is one delivery of Store.Watch.
type Update struct {
	View View
	Err  error // not nil: etcd is out of reach, View is the last one known
}

// Leadership is the right to write what the leader writes.
type Leadership interface {
	// Term grows with every leader; it is the OpenFlow generation id.
	Term() uint64
	// Done is closed when the leadership is lost.
	Done() <-chan struct{}
	// Apply writes the changes in one transaction, or none of them.
	Apply(ctx context.Context, changes ...Change) error
	// Resign gives the leadership up.
	Resign(ctx context.Context) error
}

// Change puts one record or, where Delete is set, deletes it. Record is one of
// Cluster, Node, Service, Slots, CookieKeys, HeartbeatKey, Load.
type Change struct {
	Record any
	Delete bool
}

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

// ErrOutOfReach is returned, wrapped, by all methods of a Store, and given in
// Update.Err, when etcd does not answer. A write may have been done all the same.
var ErrOutOfReach = errors.New("etcd is out of reach")

// MaxBatch is the number of operations in one transaction, etcd's default limit.
const MaxBatch = 128

// View is the cluster's state at one revision, connections excepted. It is a
// value: whoever gets one may keep it, nobody changes it. Records that are not
// there yet are nil.
//
// All that a leader wrote in one transaction is seen together. Agents write on
// their own: a View may hold an agent's record that is newer than Revision.
type View struct {
	// Revision is that of the newest record among all but those under agents/.
	Revision  int64
	Leader    string // name of the controller that leads, as given to Campaign; empty: none
	Term      uint64 // its Leadership.Term; 0: none
	Cluster   *Cluster
	Slots     *Slots
	Cookie    *CookieKeys
	Heartbeat *HeartbeatKey
	Nodes     map[topology.NodeName]Node
	Agents    map[topology.NodeName]Agent
	Services  map[topology.ServiceName]Service
	Loads     map[topology.ServiceName]Load
	IDs       *IDs
	Failures  map[uint64]Failure // by epoch
	Events    []Event            // the newest EventRing, oldest first
	// Locality are the sets of buckets, by service and bucket. One that is not
	// there is the bucket's home alone.
	Locality map[topology.ServiceName]map[int]Locality
	// Seen is what was asked for, as far as each node's agent tells.
	Seen map[topology.NodeName]map[topology.ServiceName]LocalitySeen
	// Problems are the records that could not be read, in words, with the key
	// first. The last good record stays in the View in their place.
	Problems []string
	// Broken are the keys of those records, without the cluster's name.
	Broken map[Key]bool
}

// IsBroken tells whether what stands under the record's key could not be read.
func (v View) IsBroken(record any) bool {
	key, err := keyOf("", record)
	return err != nil || v.Broken[key]
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
	// KeepAgent writes agents/<name>, and locality-seen/<name>/<service> of the
	// record's Seen, under a lease and keeps it alive until ctx ends, then revokes it and returns nil. Each record received replaces the
	// one before; a sender never waits for etcd. After a loss of the lease the
	// newest is written again under a new one. The error is a record's own:
	// one without a name.
	KeepAgent(ctx context.Context, records <-chan Agent) error
	// PutConns and DeleteConns write a batch, in transactions of at most
	// MaxBatch. After an error a part may be written; doing it again is safe.
	PutConns(ctx context.Context, conns []Conn) error
	DeleteConns(ctx context.Context, conns []Conn) error
	// DropConns deletes those that still stand as they are given, as Conns read them:
	// what their node has written since is of another life of it, and stays.
	DropConns(ctx context.Context, conns []Conn) error
	// PutLocalities writes sets of buckets, each where nothing newer stands by its
	// Changed; one without nodes, which is its home alone, deletes what stands
	// there. What is not written is no error: the View has what won. After an
	// error a part may be written; doing it again is safe.
	PutLocalities(ctx context.Context, sets []Locality) error
	// Conns lists connections, all nodes' if node is empty, at most limit (0: all).
	Conns(ctx context.Context, node topology.NodeName, limit int) ([]Conn, error)
	// Campaign blocks until this process leads, or ctx ends.
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
	// Apply writes the changes in one transaction, or none of them, and returns
	// the revision: a View with that revision or a later one shows them. More
	// than MaxChanges are written in several transactions, in their order.
	Apply(ctx context.Context, changes ...Change) (revision int64, err error)
	// Resign gives the leadership up.
	Resign(ctx context.Context) error
}

// MaxChanges is the number of changes that Apply writes in one transaction: one
// operation is its own (see Etcd.Watch).
const MaxChanges = MaxBatch - 1

// Change puts one record or, where Delete is set, deletes it. Record is one of
// Cluster, Node, Service, Slots, CookieKeys, HeartbeatKey, Load, IDs, Failure,
// Event, Locality.
type Change struct {
	Record any
	Delete bool
}

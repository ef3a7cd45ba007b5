// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// memoryCluster is the name in the keys of a Memory.
const memoryCluster = "memory"

var (
	memoryAgents = Prefix(memoryCluster) + string(KindAgent) + "/"
	memoryConns  = Prefix(memoryCluster) + string(KindConn) + "/"
)

// Memory is a Store without etcd, with the same meaning: for tests of those who
// use a Store. It can play an outage and the loss of a lease.
type Memory struct {
	mu       sync.Mutex
	items    map[string]item
	revision int64
	above    int64         // of the newest change among all but the agents' and connections
	leases   int64         // last candidate's lease
	outage   error         // not nil: out of reach
	changed  chan struct{} // closed, and replaced, with every change
	leaders  map[string]*memoryLeadership
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{items: map[string]item{}, changed: make(chan struct{}), leaders: map[string]*memoryLeadership{}}
}

// Interrupt puts the store out of reach, as if etcd had stopped for longer than
// a lease: whoever leads learns that it does no more.
func (m *Memory) Interrupt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outage = fmt.Errorf("%w: interrupted", ErrOutOfReach)
	m.deposeAll()
	m.notify()
}

// Restore ends what Interrupt began.
func (m *Memory) Restore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outage = nil
	m.notify()
}

// Depose ends the leader's lease, and with it the leadership.
func (m *Memory) Depose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deposeAll()
	m.notify()
}

// Put writes a raw value, as a stranger with etcdctl would; nil deletes the key.
// The key is what follows the cluster's prefix: nodes/n1.
func (m *Memory) Put(key string, value []byte) {
	m.write(Prefix(memoryCluster)+key, value)
}

// set is for those who hold mu and have counted the revision up.
func (m *Memory) set(key string, value []byte) {
	if !strings.HasPrefix(key, memoryAgents) && !strings.HasPrefix(key, memoryConns) {
		m.above = m.revision
	}
	if value == nil {
		delete(m.items, key)
		return
	}
	created := m.revision
	if old, ok := m.items[key]; ok {
		created = old.created
	}
	m.items[key] = item{key: key, value: value, created: created}
}

// notify wakes all that wait; for those who hold mu.
func (m *Memory) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// load gives all but the connections, the revision of that, and what is closed
// with the next change.
func (m *Memory) load() ([]item, int64, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var items []item
	for key, it := range m.items {
		if !strings.HasPrefix(key, memoryConns) {
			items = append(items, it)
		}
	}
	return items, m.above, m.changed, m.outage
}

// View is Store.View.
func (m *Memory) View(ctx context.Context) (View, error) {
	items, revision, _, err := m.load()
	if err = errors.Join(ctx.Err(), err); err != nil {
		return View{}, err
	}
	snap := newSnapshot()
	snap.replace(items)
	return snap.view(revision), nil
}

// Watch is Store.Watch.
func (m *Memory) Watch(ctx context.Context) <-chan Update {
	out := make(chan Update, 1)
	go func() {
		defer close(out)
		snap, last := newSnapshot(), View{}
		for {
			items, revision, changed, err := m.load()
			if err == nil {
				snap.replace(items)
				last = snap.view(revision)
			}
			offer(out, Update{View: last, Err: err})
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return out
}

// KeepAgent is Store.KeepAgent.
func (m *Memory) KeepAgent(ctx context.Context, records <-chan Agent) error {
	kept := map[string][]byte{}
	defer func() {
		if len(kept) > 0 {
			m.keep(kept, nil)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case record, ok := <-records:
			if !ok {
				records = nil
				continue
			}
			values, err := agentValues(memoryCluster, record)
			if err != nil {
				return err
			}
			m.keep(kept, values)
			kept = values
		}
	}
}

// keep writes values in the place of those that an agent had before.
func (m *Memory) keep(before, values map[string][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	for key := range before {
		if _, stays := values[key]; !stays {
			m.set(key, nil)
		}
	}
	for key, value := range values {
		m.set(key, value)
	}
	m.notify()
}

func (m *Memory) write(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.set(key, value)
	m.notify()
}

// pair gives key and value of a record.
func pair(record any) (string, []byte, error) {
	key, err := keyOf(memoryCluster, record)
	if err != nil {
		return "", nil, err
	}
	value, err := encode(record)
	return key.String(), value, err
}

// Close does nothing: the store is gone with its last user.
func (m *Memory) Close() error { return nil }

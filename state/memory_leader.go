// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// deposeAll is for those who hold mu.
func (m *Memory) deposeAll() {
	for key, l := range m.leaders {
		if l.leads {
			m.remove(key, l)
		}
	}
}

// remove ends a candidate's lease; for those who hold mu.
func (m *Memory) remove(key string, l *memoryLeadership) {
	delete(m.leaders, key)
	m.revision++
	m.set(key, nil)
	close(l.done)
}

// Campaign is Store.Campaign.
func (m *Memory) Campaign(ctx context.Context, name string) (Leadership, error) {
	var l *memoryLeadership
	for {
		leads, changed, err := m.campaign(&l, name)
		if err != nil {
			return nil, err
		}
		if leads {
			return l, nil
		}
		select {
		case <-ctx.Done():
			if l != nil {
				_ = l.Resign(context.WithoutCancel(ctx))
			}
			return nil, fmt.Errorf("campaign: %w", ctx.Err())
		case <-changed:
		}
	}
}

// campaign stands for election once the store is in reach, and tells whether
// the candidate's is the oldest key, or else what is closed with the next change.
func (m *Memory) campaign(l **memoryLeadership, name string) (bool, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.outage != nil {
		return false, m.changed, nil
	}
	if *l == nil {
		value, err := encode(Candidate{Name: name})
		if err != nil {
			return false, nil, err
		}
		*l = m.stand(value)
	}
	(*l).leads = m.oldest() == *l
	return (*l).leads, m.changed, nil
}

// stand writes a candidate's key; for those who hold mu.
func (m *Memory) stand(value []byte) *memoryLeadership {
	m.leases++
	m.revision++
	key := Key{Cluster: memoryCluster, Kind: KindLeader, Lease: strconv.FormatInt(m.leases, 16)}.String()
	l := &memoryLeadership{store: m, key: key, term: uint64(m.revision), done: make(chan struct{})}
	m.leaders[key] = l
	m.set(key, value)
	m.notify()
	return l
}

func (m *Memory) oldest() *memoryLeadership {
	var oldest *memoryLeadership
	for _, l := range m.leaders {
		if oldest == nil || l.term < oldest.term {
			oldest = l
		}
	}
	return oldest
}

// memoryLeadership is Leadership in a Memory.
type memoryLeadership struct {
	store *Memory
	key   string
	term  uint64
	leads bool // guarded by store.mu
	done  chan struct{}
}

func (l *memoryLeadership) Term() uint64          { return l.term }
func (l *memoryLeadership) Done() <-chan struct{} { return l.done }

// Apply is Leadership.Apply.
func (l *memoryLeadership) Apply(ctx context.Context, changes ...Change) (int64, error) {
	m := l.store
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.outage); err != nil {
		return 0, err
	}
	if m.leaders[l.key] != l {
		return 0, fmt.Errorf("apply: %w", ErrNotLeader)
	}
	if len(changes) == 0 {
		return 0, nil
	}
	writes := map[string][]byte{}
	for _, change := range changes {
		key, value, err := pair(change.Record)
		if err != nil {
			return 0, fmt.Errorf("apply: %w", err)
		}
		if change.Delete {
			value = nil
		}
		writes[key] = value
	}
	m.revision++
	for key, value := range writes {
		m.set(key, value)
	}
	m.notify()
	return m.revision, nil
}

// Resign is Leadership.Resign.
func (l *memoryLeadership) Resign(context.Context) error {
	m := l.store
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leaders[l.key] == l {
		m.remove(l.key, l)
		m.notify()
	}
	return nil
}

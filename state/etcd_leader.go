// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Campaign is Store.Campaign.
func (e *Etcd) Campaign(ctx context.Context, name string) (Leadership, error) {
	value, err := encode(Candidate{Name: name})
	if err != nil {
		return nil, err
	}
	for {
		l, err := e.campaign(ctx, string(value))
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("campaign: %w", ctx.Err())
		}
		e.log.Debug("campaign failed, trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(probePause):
		}
	}
}

// campaign tries once, under a lease of its own, and fails when that runs out.
func (e *Etcd) campaign(ctx context.Context, value string) (*leadership, error) {
	// The lease must outlive ctx: Resign revokes it.
	session, err := e.session(ctx)
	if err != nil {
		return nil, err
	}
	e.revokeStale(ctx)
	election := concurrency.NewElection(session, e.prefix+string(KindLeader))
	// Election.Campaign does not notice that its own lease ran out meanwhile.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(session.Ctx(), cancel)()
	if err := election.Campaign(waiting, value); err != nil {
		closeSession(session)
		return nil, err
	}
	l := &leadership{etcd: e, session: session, election: election, value: value, done: make(chan struct{})}
	go func() {
		<-session.Done()
		e.setStale(session.Lease())
		l.lost()
	}()
	return l, nil
}

// session grants a lease and keeps it alive, independent of ctx once it stands.
func (e *Etcd) session(ctx context.Context) (*concurrency.Session, error) {
	resp, err := e.client.Grant(ctx, int64(LeaseTTL/time.Second))
	if err != nil {
		return nil, err
	}
	return concurrency.NewSession(e.client, concurrency.WithLease(resp.ID), concurrency.WithTTL(int(LeaseTTL/time.Second)))
}

// setStale and revokeStale keep a candidate from waiting for its own old lease:
// after an outage etcd holds it anew for its whole time.
func (e *Etcd) setStale(lease clientv3.LeaseID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stale = append(e.stale, lease)
}

func (e *Etcd) revokeStale(ctx context.Context) {
	e.mu.Lock()
	leases := e.stale
	e.stale = nil
	e.mu.Unlock()
	for _, lease := range leases {
		// Gone already, or not in reach and so soon gone by itself.
		_, _ = e.client.Revoke(ctx, lease)
	}
}

// closeSession revokes the lease; unreached, it runs out by itself.
func closeSession(session *concurrency.Session) {
	session.Orphan()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_, _ = session.Client().Revoke(ctx, session.Lease())
}

// leadership is Leadership under an etcd lease.
type leadership struct {
	etcd     *Etcd
	session  *concurrency.Session
	election *concurrency.Election
	value    string // of the leader's key
	once     sync.Once
	done     chan struct{}
}

func (l *leadership) lost() { l.once.Do(func() { close(l.done) }) }

func (l *leadership) Term() uint64          { return uint64(l.election.Rev()) }
func (l *leadership) Done() <-chan struct{} { return l.done }

// Apply is Leadership.Apply.
func (l *leadership) Apply(ctx context.Context, changes ...Change) (int64, error) {
	var revision int64
	for batch := range slices.Chunk(changes, MaxChanges) {
		ops, err := l.ops(batch)
		if err != nil {
			return 0, fmt.Errorf("apply: %w", err)
		}
		if revision, err = l.commit(ctx, ops); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

// ops makes one operation of each change, and touches the leader's key where
// watchers must wait for the cluster record (see Etcd.Watch).
func (l *leadership) ops(changes []Change) ([]clientv3.Op, error) {
	ops := make([]clientv3.Op, 0, len(changes)+1)
	for _, change := range changes {
		key, err := keyOf(l.etcd.cluster, change.Record)
		if err != nil {
			return nil, err
		}
		if key.Kind == KindCluster {
			ops = append(ops, clientv3.OpPut(l.election.Key(), l.value, clientv3.WithLease(l.session.Lease())))
		}
		if change.Delete {
			ops = append(ops, clientv3.OpDelete(key.String()))
			continue
		}
		value, err := encode(change.Record)
		if err != nil {
			return nil, err
		}
		ops = append(ops, clientv3.OpPut(key.String(), string(value)))
	}
	return ops, nil
}

// commit writes only while the leader's key is the one of this term.
func (l *leadership) commit(ctx context.Context, ops []clientv3.Op) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	leads := clientv3.Compare(clientv3.CreateRevision(l.election.Key()), "=", l.election.Rev())
	resp, err := l.etcd.client.Txn(ctx).If(leads).Then(ops...).Commit()
	if err != nil {
		return 0, l.etcd.failed(ctx, "apply", err)
	}
	if !resp.Succeeded {
		l.lost()
		return 0, fmt.Errorf("apply: %w", ErrNotLeader)
	}
	return resp.Header.Revision, nil
}

// Resign gives the leadership up, and the lease with it. Another candidate may have
// revoked that a moment before, when the session had ended: then it is done.
func (l *leadership) Resign(ctx context.Context) error {
	defer l.lost()
	l.session.Orphan()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := l.etcd.client.Revoke(ctx, l.session.Lease())
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return l.etcd.failed(ctx, "resign", err)
	}
	return nil
}

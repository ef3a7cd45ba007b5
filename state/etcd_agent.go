// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// LeaseTTL is the lease of agents and of controllers, in etcd's whole seconds.
// Two are the least that etcd grants with its default election timeout.
const LeaseTTL = 2 * time.Second

// KeepAgent is Store.KeepAgent. It renews the lease itself instead of by the
// client's keep-alive: that one gives a lease up by the clock while etcd is
// away, and etcd, back again, still has it.
func (e *Etcd) KeepAgent(ctx context.Context, records <-chan Agent) error {
	k := agentKeeper{etcd: e}
	defer k.revoke(context.WithoutCancel(ctx))
	incoming := newest(ctx, records)
	tick := time.NewTicker(LeaseTTL / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case record, ok := <-incoming:
			if !ok {
				incoming = nil // no more news; the lease goes on
				continue
			}
			if err := k.set(record); err != nil {
				return err
			}
		case <-tick.C:
		}
		k.keep(ctx)
	}
}

// agentKeeper holds one record under one lease.
type agentKeeper struct {
	etcd    *Etcd
	key     string
	value   []byte // nil: no record yet
	written bool   // value stands in etcd, under lease
	lease   clientv3.LeaseID
}

func (k *agentKeeper) set(record Agent) error {
	key, err := keyOf(k.etcd.cluster, record)
	if err != nil {
		return err
	}
	value, err := encode(record)
	if err != nil {
		return err
	}
	k.key, k.value, k.written = key.String(), value, false
	return nil
}

// keep does what is due: a lease, its renewal, the write. What fails now is
// tried again at the next tick; Watch tells of outages.
func (k *agentKeeper) keep(ctx context.Context) {
	if k.value == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := k.renew(ctx)
	if err == nil && !k.written {
		err = k.write(ctx)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		k.lease, k.written = clientv3.NoLease, false
		k.etcd.log.Warn("the agent's lease ran out, taking a new one", "key", k.key)
	}
}

func (k *agentKeeper) renew(ctx context.Context) error {
	if k.lease != clientv3.NoLease {
		_, err := k.etcd.client.KeepAliveOnce(ctx, k.lease)
		return err
	}
	resp, err := k.etcd.client.Grant(ctx, int64(LeaseTTL/time.Second))
	if err != nil {
		return err
	}
	k.lease = resp.ID
	return nil
}

func (k *agentKeeper) write(ctx context.Context) error {
	_, err := k.etcd.client.Put(ctx, k.key, string(k.value), clientv3.WithLease(k.lease))
	k.written = err == nil
	return err
}

// revoke removes the record with its lease; unreached, etcd does it in LeaseTTL.
func (k *agentKeeper) revoke(ctx context.Context) {
	if k.lease == clientv3.NoLease {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := k.etcd.client.Revoke(ctx, k.lease); err != nil {
		k.etcd.log.Debug("the agent's lease is left to run out", "key", k.key, "err", err)
	}
}

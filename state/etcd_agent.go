// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"context"
	"errors"
	"slices"
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

// agentKeeper holds an agent's records under one lease.
type agentKeeper struct {
	etcd  *Etcd
	kept  map[string]kept // by key; nil: no record yet
	lease clientv3.LeaseID
}

// kept is one record of an agent.
type kept struct {
	value   []byte // nil: to be deleted
	written bool   // value stands in etcd, under the lease
}

// set takes what the agent says now in the place of what it said before.
func (k *agentKeeper) set(record Agent) error {
	values, err := agentValues(k.etcd.cluster, record)
	if err != nil {
		return err
	}
	if k.kept == nil {
		k.kept = map[string]kept{}
	}
	for key := range k.kept {
		if _, stays := values[key]; !stays {
			values[key] = nil
		}
	}
	for key, value := range values {
		if old := k.kept[key]; !bytes.Equal(old.value, value) {
			k.kept[key] = kept{value: value}
		}
	}
	return nil
}

// agentValues are the keys and values of a record and what stands beside it.
func agentValues(cluster string, record Agent) (map[string][]byte, error) {
	records := []any{record}
	for _, seen := range record.Seen {
		seen.Node = record.Name
		records = append(records, seen)
	}
	values := make(map[string][]byte, len(records))
	for _, r := range records {
		key, err := keyOf(cluster, r)
		if err != nil {
			return nil, err
		}
		if values[key.String()], err = encode(r); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// keep does what is due: a lease, its renewal, the write. What fails now is
// tried again at the next tick; Watch tells of outages.
func (k *agentKeeper) keep(ctx context.Context) {
	if k.kept == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := k.renew(ctx)
	if err == nil {
		err = k.write(ctx)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		k.lose()
		k.etcd.log.Warn("the agent's lease ran out, taking a new one")
	}
}

// lose forgets the lease, with which all that was written is gone.
func (k *agentKeeper) lose() {
	k.lease = clientv3.NoLease
	for key, record := range k.kept {
		k.kept[key] = kept{value: record.value}
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

// write brings etcd to what is kept.
func (k *agentKeeper) write(ctx context.Context) error {
	var due []string
	for key, record := range k.kept {
		if !record.written {
			due = append(due, key)
		}
	}
	for batch := range slices.Chunk(due, MaxBatch) {
		ops := make([]clientv3.Op, len(batch))
		for i, key := range batch {
			ops[i] = k.op(key)
		}
		if _, err := k.etcd.client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
		k.wrote(batch)
	}
	return nil
}

func (k *agentKeeper) op(key string) clientv3.Op {
	value := k.kept[key].value
	if value == nil {
		return clientv3.OpDelete(key)
	}
	return clientv3.OpPut(key, string(value), clientv3.WithLease(k.lease))
}

func (k *agentKeeper) wrote(keys []string) {
	for _, key := range keys {
		value := k.kept[key].value
		if value == nil {
			delete(k.kept, key)
			continue
		}
		k.kept[key] = kept{value: value, written: true}
	}
}

// revoke removes the records with their lease; unreached, etcd does it in LeaseTTL.
func (k *agentKeeper) revoke(ctx context.Context) {
	if k.lease == clientv3.NoLease {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := k.etcd.client.Revoke(ctx, k.lease); err != nil {
		k.etcd.log.Debug("the agent's lease is left to run out", "err", err)
	}
}

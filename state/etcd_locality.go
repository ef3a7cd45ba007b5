// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// localityBatch is the number of sets in one transaction: each has a transaction
// of its own inside, and etcd counts the operations along the way down.
const localityBatch = MaxBatch - 1

// PutLocalities is Store.PutLocalities. Times are no numbers to etcd, so it is
// read first and written where nothing has changed since; what has is looked at again.
func (e *Etcd) PutLocalities(ctx context.Context, sets []Locality) error {
	writes, err := localityWrites(e.cluster, sets)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(writes, localityBatch) {
		for len(batch) > 0 {
			if batch, err = e.tryLocalities(ctx, batch); err != nil {
				return fmt.Errorf("write localities: %w", err)
			}
		}
	}
	return nil
}

// tryLocalities writes what is due, and returns what others wrote meanwhile:
// that is less each time, or newer than what is to be written.
func (e *Etcd) tryLocalities(ctx context.Context, batch []localityWrite) (again []localityWrite, err error) {
	stored, err := e.stored(ctx, batch)
	if err != nil {
		return nil, err
	}
	var due []localityWrite
	var ops []clientv3.Op
	for i, w := range batch {
		if !w.isDue(stored[i].Value) {
			continue
		}
		due = append(due, w)
		unchanged := clientv3.Compare(clientv3.ModRevision(w.key), "=", stored[i].ModRevision)
		ops = append(ops, clientv3.OpTxn([]clientv3.Cmp{unchanged}, []clientv3.Op{w.op()}, nil))
	}
	if len(ops) == 0 {
		return nil, nil
	}
	resp, err := e.transact(ctx, ops)
	if err != nil {
		return nil, err
	}
	for i, r := range resp.Responses {
		if !r.GetResponseTxn().Succeeded {
			again = append(again, due[i])
		}
	}
	return again, nil
}

func (w localityWrite) op() clientv3.Op {
	if w.value == nil {
		return clientv3.OpDelete(w.key)
	}
	return clientv3.OpPut(w.key, string(w.value))
}

// stored reads what stands under the keys of a batch; empty where nothing does.
func (e *Etcd) stored(ctx context.Context, batch []localityWrite) ([]*mvccpb.KeyValue, error) {
	ops := make([]clientv3.Op, len(batch))
	for i, w := range batch {
		ops[i] = clientv3.OpGet(w.key)
	}
	resp, err := e.transact(ctx, ops)
	if err != nil {
		return nil, err
	}
	found := make([]*mvccpb.KeyValue, len(batch))
	for i, r := range resp.Responses {
		found[i] = &mvccpb.KeyValue{}
		for _, kv := range r.GetResponseRange().Kvs {
			found[i] = kv
		}
	}
	return found, nil
}

// transact does all of the operations at once.
func (e *Etcd) transact(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := e.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, e.failed(ctx, "commit", err)
	}
	return resp, nil
}

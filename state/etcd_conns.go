// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"slices"

	"github.com/onevip/onevip/topology"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// connsPage bounds one answer when connections are listed.
const connsPage = 2000

// PutConns is Store.PutConns.
func (e *Etcd) PutConns(ctx context.Context, conns []Conn) error {
	return e.writeConns(ctx, "write connections", conns, MaxBatch, func(key string, conn Conn) (clientv3.Op, error) {
		value, err := encode(conn)
		return clientv3.OpPut(key, string(value)), err
	})
}

// DeleteConns is Store.DeleteConns.
func (e *Etcd) DeleteConns(ctx context.Context, conns []Conn) error {
	return e.writeConns(ctx, "delete connections", conns, MaxBatch, func(key string, _ Conn) (clientv3.Op, error) {
		return clientv3.OpDelete(key), nil
	})
}

// DropConns is Store.DropConns. etcd counts what is inside of an inner transaction on
// top of the operations around it.
func (e *Etcd) DropConns(ctx context.Context, conns []Conn) error {
	return e.writeConns(ctx, "drop connections", conns, MaxBatch-1, func(key string, conn Conn) (clientv3.Op, error) {
		value, err := encode(conn)
		same := clientv3.Compare(clientv3.Value(key), "=", string(value))
		return clientv3.OpTxn([]clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(key)}, nil), err
	})
}

func (e *Etcd) writeConns(ctx context.Context, doing string, conns []Conn, atOnce int, op func(string, Conn) (clientv3.Op, error)) error {
	for batch := range slices.Chunk(conns, atOnce) {
		ops, err := connOps(e.cluster, batch, op)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if _, err := e.transact(ctx, ops); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return nil
}

// connOps makes one operation of each connection; etcd refuses a transaction
// that names a key twice, so the last one of a key counts.
func connOps(cluster string, conns []Conn, op func(string, Conn) (clientv3.Op, error)) ([]clientv3.Op, error) {
	ops := make([]clientv3.Op, 0, len(conns))
	at := make(map[Key]int, len(conns))
	for _, conn := range conns {
		key, err := keyOf(cluster, conn)
		if err != nil {
			return nil, err
		}
		made, err := op(key.String(), conn)
		if err != nil {
			return nil, err
		}
		if i, twice := at[key]; twice {
			ops[i] = made
			continue
		}
		at[key] = len(ops)
		ops = append(ops, made)
	}
	return ops, nil
}

// Conns is Store.Conns; the order is that of the keys. Records that cannot be
// read are left out.
func (e *Etcd) Conns(ctx context.Context, node topology.NodeName, limit int) ([]Conn, error) {
	from := e.prefix + string(KindConn) + "/"
	if node != "" {
		from += string(node) + "/"
	}
	end := clientv3.GetPrefixRangeEnd(from)
	var conns []Conn
	for {
		page, more, err := e.connsPage(ctx, from, end)
		if err != nil {
			return nil, err
		}
		for _, it := range page {
			if conn, ok := decodeConn(it); ok {
				conns = append(conns, conn)
			}
			if limit > 0 && len(conns) == limit {
				return conns, nil
			}
		}
		if !more {
			return conns, nil
		}
		from = page[len(page)-1].key + "\x00"
	}
}

func (e *Etcd) connsPage(ctx context.Context, from, end string) (page []item, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := e.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(connsPage))
	if err != nil {
		return nil, false, e.failed(ctx, "list connections", err)
	}
	for _, kv := range resp.Kvs {
		page = append(page, item{key: string(kv.Key), value: kv.Value})
	}
	return page, resp.More, nil
}

func decodeConn(it item) (Conn, bool) {
	key, err := ParseKey(it.key)
	if err != nil {
		return Conn{}, false
	}
	record, err := decode(key, it.value)
	if err != nil {
		return Conn{}, false
	}
	conn, ok := record.(Conn)
	return conn, ok
}

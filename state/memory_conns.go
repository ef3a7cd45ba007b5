// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/onevip/onevip/topology"
)

// PutConns is Store.PutConns.
func (m *Memory) PutConns(ctx context.Context, conns []Conn) error {
	return m.writeConns(ctx, conns, func(key string, value []byte) { m.set(key, value) })
}

// DeleteConns is Store.DeleteConns.
func (m *Memory) DeleteConns(ctx context.Context, conns []Conn) error {
	return m.writeConns(ctx, conns, func(key string, _ []byte) { m.set(key, nil) })
}

// DropConns is Store.DropConns.
func (m *Memory) DropConns(ctx context.Context, conns []Conn) error {
	return m.writeConns(ctx, conns, func(key string, value []byte) {
		if bytes.Equal(m.items[key].value, value) {
			m.set(key, nil)
		}
	})
}

func (m *Memory) writeConns(ctx context.Context, conns []Conn, write func(key string, value []byte)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.outage); err != nil {
		return err
	}
	m.revision++
	for _, conn := range conns {
		key, value, err := pair(conn)
		if err != nil {
			return err
		}
		write(key, value)
	}
	return nil
}

// Conns is Store.Conns.
func (m *Memory) Conns(ctx context.Context, node topology.NodeName, limit int) ([]Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.outage); err != nil {
		return nil, err
	}
	var conns []Conn
	for _, key := range slices.Sorted(maps.Keys(m.items)) {
		conn, ok := decodeConn(m.items[key])
		if ok && (node == "" || conn.Node == node) {
			conns = append(conns, conn)
		}
		if limit > 0 && len(conns) == limit {
			break
		}
	}
	return conns, nil
}

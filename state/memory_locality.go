// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
)

// PutLocalities is Store.PutLocalities.
func (m *Memory) PutLocalities(ctx context.Context, sets []Locality) error {
	writes, err := localityWrites(memoryCluster, sets)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.outage); err != nil {
		return err
	}
	m.revision++
	wrote := false
	for _, w := range writes {
		if w.isDue(m.items[w.key].value) {
			m.set(w.key, w.value)
			wrote = true
		}
	}
	if wrote {
		m.notify()
	}
	return nil
}

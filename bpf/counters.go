// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"github.com/onevip/onevip/topology"
)

// Counts reads the totals of one service.
func (f *Filter) Counts(service topology.ServiceID) (Counts, error) {
	var c Counts
	var assigned, adopted onevipOvByNode
	id := uint32(service)
	if err := f.objs.Assigned.Lookup(id, &assigned); err != nil {
		return c, fmt.Errorf("read assigned of service %d: %w", service, err)
	}
	if err := f.objs.Adopted.Lookup(id, &adopted); err != nil {
		return c, fmt.Errorf("read adopted of service %d: %w", service, err)
	}
	balance, err := f.balance(id)
	if err != nil {
		return c, err
	}
	f.mu.Lock()
	balance += f.offsets[id]
	f.mu.Unlock()
	c.Assigned, c.Adopted = assigned.Count, adopted.Count
	c.Active = uint32(max(balance, 0))
	return c, nil
}

// balance is how many more sockets opened than closed.
func (f *Filter) balance(id uint32) (int64, error) {
	var n onevipOvConns
	if err := f.objs.Conns.Lookup(id, &n); err != nil {
		return 0, fmt.Errorf("read conns of service %d: %w", id, err)
	}
	return int64(n.Opened - n.Closed), nil
}

// SetActive corrects the active count to what a dump of the kernel's sockets
// shows: the tracing program misses what happens while it runs on the same CPU,
// or before it is attached.
func (f *Filter) SetActive(service topology.ServiceID, active uint32) error {
	balance, err := f.balance(uint32(service))
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.offsets[uint32(service)] = int64(active) - balance
	f.mu.Unlock()
	return nil
}

// Reasons reads how many packets left the program for each reason, by its name.
func (f *Filter) Reasons() (map[string]uint64, error) {
	out := make(map[string]uint64, reasonCount)
	for _, r := range Reasons() {
		n, err := f.reason(r)
		if err != nil {
			return nil, err
		}
		out[r.String()] = n
	}
	return out, nil
}

func (f *Filter) reason(r Reason) (uint64, error) {
	var perCPU []uint64
	if err := f.objs.Reasons.Lookup(uint32(r), &perCPU); err != nil {
		return 0, fmt.Errorf("read reason %s: %w", r, err)
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}

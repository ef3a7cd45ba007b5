// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"testing"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestBridgeTriedAgain(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	f.broken = errors.New("no database")
	c := start(t, store, f, "c1", labConfig(t))
	await(t, "the complaint", func() bool { return c.count("no database") == 1 })
	f.mu.Lock()
	f.broken = nil
	f.mu.Unlock()
	await(t, "the bridge", func() bool { return c.count("the bridge is set up") == 1 })
}

// TestBridgeDue: who leads no more leaves bridges to the next leader.
func TestBridgeDue(t *testing.T) {
	tests := []struct{ leads, done, connected, want bool }{
		{true, false, false, true},
		{true, false, true, true},
		{true, true, false, true},
		{true, true, true, false},
		{false, false, false, false},
		{false, true, false, false},
	}
	for _, tt := range tests {
		d := &desk{stations: map[topology.SwitchName]*station{}}
		d.setLeads(tt.leads)
		if tt.connected {
			d.stations["s1"] = &station{}
		}
		if got := d.bridgeDue("s1", tt.done); got != tt.want {
			t.Errorf("%+v: due %t", tt, got)
		}
	}
}

// TestBridgeAfterOutage: who leads again sets up what it left alone.
func TestBridgeAfterOutage(t *testing.T) {
	store, f := state.NewMemory(), newMemoryFabric()
	f.broken = errors.New("no database")
	c := start(t, store, f, "c1", labConfig(t))
	await(t, "the complaint", func() bool { return c.count("no database") == 1 })
	store.Interrupt()
	c.metric(t, `onevip_controller_leader 0`)
	f.mu.Lock()
	f.broken = nil
	f.mu.Unlock()
	store.Restore()
	await(t, "the bridge", func() bool { return c.count("the bridge is set up") == 1 })
}

// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"time"

	"github.com/onevip/onevip/topology"
)

// Bridges are set up when the desk opens, and again and again while their switch
// is not connected: a database that was not there yet, a bridge that somebody
// deleted. Only who leads does so: a bridge names one controller, and two would
// take it from each other.
const (
	bridgePause   = 500 * time.Millisecond // while it is not set up
	bridgeLook    = 3 * time.Second        // from one look to the next when it is
	bridgeTimeout = 20 * time.Second
)

func (d *desk) keepBridge(ctx context.Context, sw topology.Switch) {
	log := d.log.With("switch", string(sw.Name))
	done, said := false, ""
	for {
		if d.bridgeDue(sw.Name, done) {
			err := d.ensure(ctx, sw)
			if ctx.Err() != nil {
				return
			}
			said, done = tellBridge(log, said, err), err == nil
		}
		pause := bridgeLook
		if !done {
			pause = bridgePause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// tellBridge logs a failure once, and its end. It returns what it said.
func tellBridge(log *slog.Logger, said string, err error) string {
	switch {
	case err == nil && said != "":
		log.Info("the bridge is set up")
	case err != nil && err.Error() != said:
		log.Error("the bridge can not be set up, trying on", "err", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func (d *desk) ensure(ctx context.Context, sw topology.Switch) error {
	ctx, cancel := context.WithTimeout(ctx, bridgeTimeout)
	defer cancel()
	return d.fabric.ensure(ctx, d.cluster.Name, sw, portsOf(d.cluster, sw))
}

// bridgeDue tells whether a bridge is to be set up, for the first time or anew.
func (d *desk) bridgeDue(name topology.SwitchName, done bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leads && (!done || d.stations[name] == nil)
}

// setLeads says whether this controller leads, or only serves on.
func (d *desk) setLeads(leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leads = leads
}

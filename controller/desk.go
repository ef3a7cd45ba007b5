// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// deskConfig is what a desk is made from.
type deskConfig struct {
	cluster topology.Cluster
	fabric  fabric
	log     *slog.Logger
	metrics *metrics
}

// desk serves the switches: it sets their bridges up, accepts their
// connections, and has one station for each. There is one while this controller
// leads, and on until another leads: without etcd, the switches are still served
// from the last View.
type desk struct {
	deskConfig
	names    map[ovs.DatapathID]topology.SwitchName
	listener listener
	cancel   context.CancelFunc
	running  sync.WaitGroup
	failed   chan error    // the listener broke
	news     chan struct{} // sight shows something new

	mu         sync.Mutex
	generation uint64 // guarded by mu; 0: nothing is known yet
	view       state.View
	leads      bool                             // this controller, and sets the bridges up
	stations   map[topology.SwitchName]*station // the newest of each switch
	fenced     map[uint64]bool                  // failures whose fence is in force, as told under generation
}

// openDesk listens for switches.
func openDesk(ctx context.Context, cfg deskConfig) (*desk, error) {
	ctx, cancel := context.WithCancel(ctx)
	listening, err := cfg.fabric.listen(ctx, cfg.cluster.Controller.OpenFlow)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen for switches on %s (controller.openflow): %w", cfg.cluster.Controller.OpenFlow, err)
	}
	d := &desk{
		deskConfig: cfg,
		names:      map[ovs.DatapathID]topology.SwitchName{},
		listener:   listening,
		cancel:     cancel,
		failed:     make(chan error, 1),
		news:       make(chan struct{}, 1),
		stations:   map[topology.SwitchName]*station{},
		fenced:     map[uint64]bool{},
		leads:      true, // nobody else opens one
	}
	for _, sw := range cfg.cluster.Switches {
		d.names[ovs.DatapathIDOf(cfg.cluster.Name, sw.Name)] = sw.Name
		cfg.metrics.sessions.WithLabelValues(string(sw.Name)).Set(0)
		if sw.OVSDB != "" {
			d.running.Go(func() { d.keepBridge(ctx, sw) })
		}
	}
	d.running.Go(func() { d.accept(ctx) })
	return d, nil
}

// close hangs up. The switches keep their flows.
func (d *desk) close() {
	d.cancel()
	if err := d.listener.Close(); err != nil {
		d.log.Debug("close the listener for switches", "err", err)
	}
	d.running.Wait()
}

// set says what the switches shall follow from now on.
func (d *desk) set(generation uint64, view state.View) {
	d.mu.Lock()
	if d.generation != generation {
		clear(d.fenced) // who leads anew fences anew
	}
	d.generation, d.view = generation, view
	d.mu.Unlock()
	d.wakeAll()
}

// wakeAll has each station look at what it should do.
func (d *desk) wakeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.stations {
		s.poke()
	}
}

// order is what one switch shall do.
type order struct {
	generation uint64 // under which
	intent     ovs.Intent
	fences     []uint64 // the failures of its own nodes whose fence is not yet known to be in force
}

// wanted is what one switch shall do now, if that is known.
func (d *desk) wanted(name topology.SwitchName) (order, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ports := observed{}
	for name, s := range d.stations {
		ports[name] = s.session.Ports()
	}
	tree, err := trunksFor(d.cluster, ports)
	if err != nil {
		d.log.Error("no flood tree", "err", err)
		return order{}, false
	}
	intent, ready := intentFor(d.cluster, d.view, tree.Ports[name], name)
	return order{d.generation, intent, d.fencesAt(name)}, ready && d.generation != 0
}

func (d *desk) accept(ctx context.Context) {
	strangers := map[ovs.DatapathID]bool{}
	for {
		s, err := d.listener.accept(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.failed <- fmt.Errorf("accept switches: %w", err)
			return
		}
		name, known := d.names[s.DatapathID()]
		if !known {
			if !strangers[s.DatapathID()] {
				d.log.Warn("a switch that is not of this cluster connected; is its controller target right? else set its other_config:datapath-id", "datapath", s.DatapathID().String(), "known", d.known())
			}
			strangers[s.DatapathID()] = true
			_ = s.Close()
			continue
		}
		d.running.Go(func() { d.attend(ctx, name, s) })
	}
}

// known lists the datapath ids of the cluster's switches, in words.
func (d *desk) known() []string {
	var known []string
	for id, name := range d.names {
		known = append(known, string(name)+"="+id.String())
	}
	return known
}

// attend gives a connected switch a station until one of both ends.
func (d *desk) attend(ctx context.Context, name topology.SwitchName, s session) {
	st := newStation(d, name, s)
	d.mu.Lock()
	if old := d.stations[name]; old != nil {
		_ = old.session.Close() // the switch connected anew
	}
	d.stations[name] = st
	d.mu.Unlock()
	d.metrics.sessions.WithLabelValues(string(name)).Set(1)
	st.log.Info("switch connected")
	d.tell()

	st.run(ctx)

	_ = s.Close()
	d.mu.Lock()
	newest := d.stations[name] == st
	if newest {
		delete(d.stations, name)
	}
	d.mu.Unlock()
	if newest {
		d.metrics.sessions.WithLabelValues(string(name)).Set(0)
		d.wakeAll()
		d.tell()
	}
	if ctx.Err() == nil {
		st.log.Warn("switch lost; it goes on with the flows it has", "err", s.Err())
	}
}

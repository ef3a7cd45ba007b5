// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/onevip/onevip/topology"
)

// serve opens the desk when this controller leads, tells it of news, and closes
// it when another leads.
func (l *loop) serve(ctx context.Context) error {
	if l.anotherLeads() && l.desk != nil {
		l.Log.Info("another controller leads and serves the switches", "leader", l.last.View.Leader, "term", l.last.View.Term)
		l.closeDesk()
	}
	if l.leadership != nil && l.desk == nil && len(l.Cluster.Switches) > 0 {
		desk, err := openDesk(ctx, deskConfig{cluster: l.Cluster, fabric: l.fabric, log: l.Log, metrics: l.metrics})
		if err != nil {
			return err
		}
		l.desk = desk
	}
	l.tellDesk()
	return nil
}

// tellDesk hands a newer View on. What agents report of themselves does not make
// it newer, and does not concern the switches; their sets of buckets do not
// either, and cost the desk a comparison.
func (l *loop) tellDesk() {
	view := l.last.View
	if l.desk == nil || !l.fresh() || view.Cluster == nil {
		return
	}
	served := l.served
	if l.leadership != nil {
		served = l.leadership.Term()
	}
	if served == l.served && view.Revision == l.told {
		return
	}
	l.served, l.told = served, view.Revision
	l.desk.set(generation(*view.Cluster, served), view)
}

// anotherLeads tells whether etcd is in reach and says so.
func (l *loop) anotherLeads() bool {
	view := l.last.View
	return l.leadership == nil && l.seen && l.last.Err == nil && view.Term > l.served && view.Leader != l.Name
}

func (l *loop) closeDesk() {
	if l.desk != nil {
		l.desk.close()
		l.desk, l.told = nil, 0
	}
}

func (l *loop) deskFailed() <-chan error {
	if l.desk == nil {
		return nil
	}
	return l.desk.failed
}

func (l *loop) deskNews() <-chan struct{} {
	if l.desk == nil {
		return nil
	}
	return l.desk.news
}

// sight is what the switches tell. Before the desk is open none is connected.
func (l *loop) sight() sight {
	if l.desk != nil {
		return l.desk.look()
	}
	seen := sight{away: map[topology.SwitchName]bool{}}
	for _, sw := range l.Cluster.Switches {
		seen.away[sw.Name] = true
	}
	return seen
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net/netip"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// connRules say which connections are stored.
type connRules struct {
	node     topology.NodeName
	services map[netip.AddrPort]connService // by VIP and port
	minAge   time.Duration
	maxRate  int // records a second
	// paused: the node stands down. Others read what is stored, to end its
	// connections in its place.
	paused bool
}

type connService struct {
	name topology.ServiceName
	id   topology.ServiceID
}

// wantConns reads the rules from a View that has a cluster record.
func wantConns(v state.View, name topology.NodeName) connRules {
	r := connRules{
		node:     name,
		services: map[netip.AddrPort]connService{},
		minAge:   time.Duration(v.Cluster.ConnsMinAge),
		maxRate:  max(1, v.Cluster.ConnsMaxRate),
	}
	for _, s := range v.Services {
		for _, vip := range s.VIPs {
			r.services[netip.AddrPortFrom(vip, s.Port)] = connService{s.Name, s.ID}
		}
	}
	return r
}

// openConn is a connection as the kernel has it. The cookie is the socket's: a
// connection that follows another on the same 4-tuple has another one.
type openConn struct {
	connKey
	cookie uint64
}

type connKey struct{ client, vip netip.AddrPort }

// connTable compares the connections that there are with those that are stored.
// Not for concurrent use.
type connTable struct{ known map[connKey]*connEntry }

// connEntry is a connection that is there, or stored, or both.
//
// Invariant: where an entry is dropped nothing of it is stored.
type connEntry struct {
	service topology.ServiceName
	since   time.Time
	cookie  uint64 // 0: not known, it is from the store
	there   bool
	stored  bool // maybe: a write that failed may have been done
	fresh   bool // what is stored, if anything, is not this
}

func newConnTable() *connTable { return &connTable{known: map[connKey]*connEntry{}} }

// recall takes what an earlier agent stored. What is not there any more will
// be due for deletion.
func (t *connTable) recall(stored []state.Conn) {
	for _, c := range stored {
		key := connKey{c.Client, c.VIP}
		if t.known[key] == nil {
			t.known[key] = &connEntry{service: c.Service, since: c.Since, stored: true}
		}
	}
}

// observe takes all connections there are now.
func (t *connTable) observe(now time.Time, open []openConn, rules connRules) {
	for _, e := range t.known {
		e.there = false
	}
	for _, c := range open {
		service, ours := rules.services[c.vip]
		if !ours {
			continue
		}
		e := t.known[c.connKey]
		switch {
		case e == nil:
			t.known[c.connKey] = &connEntry{service: service.name, since: now, cookie: c.cookie, there: true, fresh: true}
			continue
		case e.cookie != 0 && e.cookie != c.cookie || e.service != service.name:
			e.service, e.since, e.fresh = service.name, now, true
		}
		e.cookie, e.there = c.cookie, true
	}
	for key, e := range t.known {
		if !e.there && !e.stored {
			delete(t.known, key)
		}
	}
}

// due gives what should be written and deleted now, together at most limit;
// deletions first. The caller tells by wrote what came of it.
func (t *connTable) due(now time.Time, limit int, rules connRules) (puts, gone []state.Conn) {
	for key, e := range t.known {
		if len(gone) == limit {
			return nil, gone
		}
		if !e.there {
			gone = append(gone, e.record(key, rules.node))
		}
	}
	for key, e := range t.known {
		if len(puts)+len(gone) == limit {
			break
		}
		if e.there && e.fresh && now.Sub(e.since) >= rules.minAge {
			puts = append(puts, e.record(key, rules.node))
		}
	}
	return puts, gone
}

func (e *connEntry) record(key connKey, node topology.NodeName) state.Conn {
	return state.Conn{
		Schema: state.Schema, Node: node, Service: e.service,
		Client: key.client, VIP: key.vip, Since: e.since,
	}
}

// put files the outcome of writing conns. After a failure they may be stored or not.
func (t *connTable) put(conns []state.Conn, failed bool) {
	for _, c := range conns {
		if e := t.known[connKey{c.Client, c.VIP}]; e != nil {
			e.stored, e.fresh = true, failed
		}
	}
}

// deleted files that conns are not stored any more.
func (t *connTable) deleted(conns []state.Conn) {
	for _, c := range conns {
		delete(t.known, connKey{c.Client, c.VIP})
	}
}

// stored counts the connections that the store has, and backlog those that it
// should have but has not.
func (t *connTable) stored(now time.Time, minAge time.Duration) (stored, backlog int) {
	for _, e := range t.known {
		if e.stored {
			stored++
		}
		if !e.there || e.fresh && now.Sub(e.since) >= minAge {
			backlog++
		}
	}
	return stored, backlog
}

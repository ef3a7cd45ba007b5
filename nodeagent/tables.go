// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// tables is what the cluster's state wants in this node's kernel, loads
// excepted. It is a value: nothing in it is changed after it was made.
type tables struct {
	self     bpf.Self
	services []bpf.Service // by id
	slots    []bpf.Slot    // nil: not known
	epoch    uint64        // of slots
	cookies  *bpf.CookieKeys
	members  map[topology.NodeID]topology.MAC
	// speculation is what to do as a secondary.
	speculation bpf.Speculation
}

// vips gives the addresses of all services, each once, in order.
func (t tables) vips() []netip.Addr {
	var out []netip.Addr
	for _, s := range t.services {
		out = append(out, s.VIPs...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// wantTables reads a View for one node. Until the node has an id, and while it is
// failed, nothing is wanted: ready is false, and nothing may be attached that could adopt. Records
// that make no sense are left out and told as problems, in words.
func wantTables(v state.View, name topology.NodeName) (t tables, problems []string, ready bool) {
	node, known := v.Nodes[name]
	if v.Cluster == nil || !known || !node.ID.Valid() || node.State == state.NodeFailed {
		return tables{}, nil, false
	}
	t.self = bpf.Self{ID: node.ID, WindowScale: v.Cluster.WindowScale}
	t.services = wantServices(v.Services)
	t.members = wantMembers(v)
	t.speculation = wantSpeculation(v.Cluster.SpeculationDelay)
	var err error
	if t.cookies, err = wantCookies(v.Cookie, time.Duration(v.Cluster.CookieRotate)); err != nil {
		problems = append(problems, err.Error())
	}
	if t.slots, err = wantSlots(v.Slots); err != nil {
		problems = append(problems, err.Error())
	}
	if t.slots != nil {
		t.epoch = v.Slots.Epoch
	}
	return t, problems, true
}

func wantServices(records map[topology.ServiceName]state.Service) []bpf.Service {
	out := make([]bpf.Service, 0, len(records))
	for _, s := range records {
		out = append(out, bpf.Service{ID: s.ID, VIPs: s.VIPs, Port: s.Port, Policy: s.Policy,
			Replay: s.Replay == topology.ReplaySafe, Rules: wantRules(s)})
	}
	slices.SortFunc(out, func(a, b bpf.Service) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// wantRules are zero for a service whose policy does not inspect.
func wantRules(s state.Service) bpf.Rules {
	if r := s.Locality; r != nil && s.Policy.Inspects() {
		return bpf.Rules{Key: r.Key, Low: r.Low, High: r.High, Decay: time.Duration(r.Decay), Bound: r.Bound,
			Silent: time.Duration(r.Silent.After), Close: r.Silent.Then == topology.SilentClose}
	}
	return bpf.Rules{}
}

func wantSpeculation(delay topology.Delay) bpf.Speculation {
	if delay == topology.Never {
		return bpf.Speculation{Off: true}
	}
	return bpf.Speculation{Delay: time.Duration(delay)}
}

// wantMembers names each node's MAC: the leader's word, else the agent's own.
func wantMembers(v state.View) map[topology.NodeID]topology.MAC {
	out := map[topology.NodeID]topology.MAC{}
	for _, n := range v.Nodes {
		mac := macOf(v, n)
		if n.ID.Valid() && !mac.IsZero() {
			out[n.ID] = mac
		}
	}
	return out
}

func wantSlots(record *state.Slots) ([]bpf.Slot, error) {
	if record == nil {
		return nil, nil
	}
	if len(record.Primary) != topology.SlotCount || len(record.Secondary) != topology.SlotCount {
		return nil, fmt.Errorf("slot table of epoch %d has %d primaries and %d secondaries, want %d of each: it is not installed",
			record.Epoch, len(record.Primary), len(record.Secondary), topology.SlotCount)
	}
	out := make([]bpf.Slot, topology.SlotCount)
	for i := range out {
		out[i] = bpf.Slot{Primary: record.Primary[i], Secondary: record.Secondary[i]}
	}
	return out, nil
}

// cookieLifetime is how long a cookie is valid at most.
func cookieLifetime(rotate time.Duration) time.Duration { return 2 * rotate }

// wantCookies gives the keys.
func wantCookies(record *state.CookieKeys, rotate time.Duration) (*bpf.CookieKeys, error) {
	if record == nil {
		return nil, nil
	}
	out := bpf.CookieKeys{Epoch: record.Epoch, Lifetime: cookieLifetime(rotate)}
	for _, k := range []struct {
		name string
		from state.Secret
		to   *[16]byte
	}{
		{"previous", record.Previous, &out.Previous},
		{"current", record.Current, &out.Current},
		{"next", record.Next, &out.Next},
	} {
		if len(k.from) != len(k.to) {
			return nil, fmt.Errorf("%s cookie key of epoch %d has %d bytes, want %d: the keys are not installed",
				k.name, record.Epoch, len(k.from), len(k.to))
		}
		copy(k.to[:], k.from)
	}
	return &out, nil
}

// wantRoster says whose heartbeats about what are taken. The incarnation is the
// one of the agent's own record, else the leader's word.
func wantRoster(v state.View) roster {
	r := roster{members: map[topology.NodeID]uint64{}, services: map[topology.ServiceID]bool{}}
	for name, n := range v.Nodes {
		if !n.ID.Valid() || n.State == state.NodeFailed {
			continue
		}
		boot := v.Agents[name].Incarnation
		if boot == "" {
			boot = n.Incarnation
		}
		r.members[n.ID] = parseIncarnation(boot)
	}
	for _, s := range v.Services {
		r.services[s.ID] = true
	}
	return r
}

// nodesByID gives the members that have an id, in its order.
func nodesByID(v state.View) []state.Node {
	nodes := slices.DeleteFunc(slices.Collect(maps.Values(v.Nodes)), func(n state.Node) bool { return !n.ID.Valid() })
	slices.SortFunc(nodes, func(a, b state.Node) int { return cmp.Compare(a.ID, b.ID) })
	return nodes
}

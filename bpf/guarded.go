// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/onevip/onevip/topology"
)

// Guarded is a connection of another node, as this node saw its client's segments
// last. Sequence numbers are as on the wire.
type Guarded struct {
	Flow Flow
	// Owner is topology.Undecided if it is not known.
	Owner topology.NodeID
	// Ack is the highest that the client acknowledged: what it expects next of its
	// server, or more. Seq is what its server should expect of it. Both are 0 if no
	// segment was seen (Condemn).
	Ack, Seq uint32
	// TSVal and TSEcr are the client's last timestamps (RFC 7323), if HasTS.
	TSVal, TSEcr uint32
	HasTS        bool
	// ClientMAC is the source of the client's frames: its own, or its gateway's. Zero if
	// no segment was seen.
	ClientMAC topology.MAC
	// Data tells whether the client sent any, or may have, or heard more than a SYN/ACK.
	Data bool
	// Closing tells whether the client sent its FIN.
	Closing bool
	// Seen is how long ago the last segment was, in whole seconds; 0 if none was.
	Seen time.Duration
	// Inspector is who the client's cookie named to decide on the owner by the first
	// request; topology.Undecided: none, it named the owner. Until Data nothing is decided,
	// and after that Owner is not known before the inspector has told.
	Inspector topology.NodeID
}

// guardedBatch is how many records are read at a time: more than any bucket of the
// map has.
const guardedBatch = 4096

// The bits of a record's flags: enum guard_flag of types.h.
const (
	guardNamed = 1 << iota
	guardNumbered
	guardData
	guardTimestamps
	guardFIN
	guardInspected
)

// Guarded reads the records of these nodes' connections; topology.Undecided stands
// for those whose owner is not known. Records that come or go meanwhile may be
// missed, and one may be read twice.
func (f *Filter) Guarded(owners ...topology.NodeID) ([]Guarded, error) {
	var wanted [256]bool
	for _, id := range owners {
		wanted[id] = true
	}
	now, err := Now()
	if err != nil {
		return nil, err
	}
	var out []Guarded
	var cursor ebpf.MapBatchCursor
	keys, values := make([]onevipOvFlow, guardedBatch), make([]onevipOvGuarded, guardedBatch)
	for {
		n, err := f.objs.Guarded.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read guarded connections: %w", err)
		}
		for i := range n {
			if wanted[values[i].Owner] {
				out = append(out, values[i].guarded(flowOf(keys[i]), uint32(now/time.Second)))
			}
		}
		if err != nil {
			return out, nil
		}
	}
}

// GuardedFlows reads the records of these connections, of those that have one.
func (f *Filter) GuardedFlows(flows []Flow) (map[Flow]Guarded, error) {
	now, err := Now()
	if err != nil {
		return nil, err
	}
	out := map[Flow]Guarded{}
	for _, flow := range flows {
		var g onevipOvGuarded
		err := f.objs.Guarded.Lookup(flow.key(), &g)
		switch {
		case err == nil:
			out[flow] = g.guarded(flow, uint32(now/time.Second))
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			return nil, fmt.Errorf("read the record of %s: %w", flow, err)
		}
	}
	return out, nil
}

func (g onevipOvGuarded) guarded(flow Flow, now uint32) Guarded {
	out := Guarded{
		Flow: flow, Owner: topology.NodeID(g.Owner), Ack: g.Ack, Seq: g.Seq,
		TSVal: g.Tsval, TSEcr: g.Tsecr, HasTS: g.Flags&guardTimestamps != 0,
		ClientMAC: g.Mac, Data: g.Flags&guardData != 0, Closing: g.Flags&guardFIN != 0,
	}
	if age := int32(now - g.Seen); g.Flags&guardNumbered != 0 && age > 0 {
		out.Seen = time.Duration(age) * time.Second
	}
	if g.Flags&guardInspected != 0 {
		out.Inspector = topology.NodeID(g.Inspector)
	}
	return out
}

// key is how the maps name the flow.
func (f Flow) key() onevipOvFlow {
	return onevipOvFlow{
		Client: address(f.Client.Addr()), ClientPort: networkOrder(f.Client.Port()),
		Vip: address(f.VIP.Addr()), VipPort: networkOrder(f.VIP.Port()),
	}
}

// Condemn says whose these connections are, since a failed node's record or the other
// nodes' answers told so. The next segment of their clients is answered with a RST
// if that node has failed and this one acts for it (SetFailed). A flow that a living
// node has can be given to it likewise: it is no stray then. A flow whose client has
// named another node, by a valid cookie, stays that one's: the tuple is in use again.
func (f *Filter) Condemn(flows []Flow, owner topology.NodeID) error {
	if !owner.Valid() {
		return fmt.Errorf("owner %d: want 1..%d", owner, topology.MaxNodeID)
	}
	for _, flow := range flows {
		var g onevipOvGuarded
		key := flow.key()
		err := f.objs.Guarded.Lookup(key, &g)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read the record of %s: %w", flow, err)
		}
		if g.namesOther(owner) || g.isInspectors(owner) && f.actsFor(owner, flow) {
			continue
		}
		if g.Owner != uint8(owner) {
			g.Flags &^= guardNamed // no cookie said so
		}
		g.Owner = uint8(owner)
		g.Flags |= guardData
		if err := f.objs.Guarded.Put(key, &g); err != nil {
			return fmt.Errorf("condemn %s: %w", flow, err)
		}
	}
	return nil
}

// namesOther tells whether the client named a node, and not this one. What its inspector
// said counts no more when that one has failed.
func (g onevipOvGuarded) namesOther(owner topology.NodeID) bool {
	if g.Flags&guardInspected != 0 && g.Inspector == uint8(owner) {
		return false
	}
	return g.Flags&guardNamed != 0 && g.Owner != uint8(topology.Undecided) && g.Owner != uint8(owner)
}

// isInspectors tells whether the connection was found to be its inspector's, and not this
// node's: of several that have failed, whoever the client named counts.
func (g onevipOvGuarded) isInspectors(owner topology.NodeID) bool {
	return g.Flags&guardInspected != 0 && g.Owner == g.Inspector && g.Owner != uint8(owner)
}

// actsFor tells whether this node acts for another, which has failed then.
func (f *Filter) actsFor(node topology.NodeID, flow Flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	slot := SlotOf(flow.Client, flow.VIP)
	return f.failed.Acts[node][slot/8]>>(slot%8)&1 != 0
}

// Forget removes the records of these connections. It is no error if there are none.
func (f *Filter) Forget(flows []Flow) error {
	for _, flow := range flows {
		err := f.objs.Guarded.Delete(flow.key())
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget %s: %w", flow, err)
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// bundleFlags: the changes take effect in their order, and at one instant for
// the packets.
const bundleFlags = of.OFPBCT_ATOMIC | of.OFPBCT_ORDERED

// bundle applies changes as one ONF bundle (extension 230). The additions are
// checked behind a barrier first, because a switch may commit a bundle without
// the messages it refused.
func (s *Session) bundle(ctx context.Context, changes []Change) error {
	s.mu.Lock()
	s.bundles++
	id := s.bundles
	s.mu.Unlock()
	if err := s.bundleControl(ctx, "open a bundle", id, of.OFPBCT_OPEN_REQUEST); err != nil {
		return err
	}
	calls := make([]*call, 0, len(changes))
	defer func() {
		for _, c := range calls {
			s.forget(c)
		}
	}()
	for _, change := range changes {
		c := s.register(change.String(), nil)
		calls = append(calls, c)
		if err := s.bundleAdd(id, c.xid, change); err != nil {
			return s.discard(ctx, id, err)
		}
	}
	if err := s.Barrier(ctx); err != nil {
		return s.discard(ctx, id, err)
	}
	if err := firstRefusal(calls); err != nil {
		return s.discard(ctx, id, err)
	}
	return s.commit(ctx, id, calls)
}

// commit tells which change failed, rather than that one did.
func (s *Session) commit(ctx context.Context, id uint32, calls []*call) error {
	err := s.bundleControl(ctx, "commit the bundle", id, of.OFPBCT_COMMIT_REQUEST)
	if err == nil {
		return nil
	}
	if refusal := firstRefusal(calls); refusal != nil {
		return refusal
	}
	return err
}

// discard drops an open bundle and gives the reason back.
func (s *Session) discard(ctx context.Context, id uint32, reason error) error {
	if s.Err() != nil {
		return reason // the switch drops the bundle with the connection
	}
	if err := s.bundleControl(ctx, "discard the bundle", id, of.OFPBCT_DISCARD_REQUEST); err != nil {
		return fmt.Errorf("%w (and: %w)", reason, err)
	}
	return reason
}

func firstRefusal(calls []*call) error {
	for _, c := range calls {
		select {
		case err := <-c.result:
			return err
		default:
		}
	}
	return nil
}

// bundleControl sends a bundle control message; its reply has the next type.
func (s *Session) bundleControl(ctx context.Context, doing string, id uint32, kind uint16) error {
	return s.do(ctx, doing, func(xid uint32) ([]byte, error) {
		control := of.NewBundleControl(&of.BundleControl{BundleID: id, Type: kind, Flags: bundleFlags})
		control.Header.Xid = xid
		return marshal(control)
	}, func(m message) (bool, error) {
		reply, ok := decodeBundleReply(m.body)
		if m.kind != of.Type_Experimenter || !ok || reply.id != id || reply.kind != kind+1 {
			return true, fmt.Errorf("%w: unexpected %v", errShort, m)
		}
		return true, nil
	})
}

// bundleAdd puts a change into the bundle. The inner message has the xid of the
// outer one, as the extension demands; errors come under it.
func (s *Session) bundleAdd(id, xid uint32, change Change) error {
	inner, err := encodeChange(change, xid)
	if err != nil {
		return err
	}
	if len(inner) > maxMessage-24 {
		return fmt.Errorf("%s: %d bytes do not fit into a bundle message", change.Op, len(inner))
	}
	add := of.NewBundleAdd(&of.BundleAdd{BundleID: id, Flags: bundleFlags, Message: rawBytes(inner)})
	add.Header.Xid = xid
	b, err := marshal(add)
	if err != nil {
		return err
	}
	return s.write(b)
}

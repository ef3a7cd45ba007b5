// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"net/netip"
	"time"
)

// settleRounds is after how many revalidations, each asked for after the one
// before was done, the datapath surely follows the tables. The first may have
// been under way when they changed. The second may have begun before ovs-vswitchd
// told the revalidators. The third has seen all flows. A packet that was being
// dealt with meanwhile, by the old tables, may have made one more: the fourth sees
// that.
const settleRounds = 4

// Settle returns when the datapath's cached flows follow the tables as they are
// now. A barrier says only that the tables changed; what the datapath has cached
// goes on for a while: a fence is in force only when this has returned nil.
//
// The switch itself tells, within some 20 ms, if the address of its OVSDB server
// (as in topology.Switch) is a unix socket beside that of its ovs-vswitchd. Of
// any other switch it is taken for granted after a wait, in which the same
// revalidations are asked for. ErrNotMaster if another controller has claimed the
// switch since: the tables may be others by now.
func (s *Session) Settle(ctx context.Context, ovsdb string, wait time.Duration) error {
	s.applied.Lock()
	defer s.applied.Unlock()
	if _, err := s.claimed(); err != nil {
		return err
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	if told, err := s.settleTold(ctx, ovsdb); told || err != nil {
		return err
	}
	for range settleRounds {
		if err := s.revalidate(ctx); err != nil {
			return err
		}
		if err := s.sleep(ctx, wait/settleRounds); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) sleep(ctx context.Context, span time.Duration) error {
	select {
	case <-time.After(span):
		return nil
	case <-s.Done():
		return s.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settleTold asks ovs-vswitchd; false if it can't be asked. An error is one of the
// OpenFlow session.
//
// Asked for, revalidations follow each other at once: left alone, one comes each
// half second.
func (s *Session) settleTold(ctx context.Context, ovsdb string) (told bool, err error) {
	daemon, err := dialDaemon(ctx, ovsdb)
	if err != nil {
		return false, nil
	}
	defer daemon.close()
	for range settleRounds {
		// ovs-vswitchd, which has one thread for both, hears the question before it
		// sees the flow, so that the revalidation is one to wait for.
		if daemon.ask("revalidator/wait") != nil {
			return false, nil
		}
		if err := s.revalidate(ctx); err != nil {
			return false, err
		}
		if daemon.answer() != nil { // such as: can't wait on multiple udpifs
			return false, ctx.Err()
		}
	}
	return true, nil
}

// revalidate makes the switch look at its cached flows again: it does whenever a
// flow is written, also one that is there already.
func (s *Session) revalidate(ctx context.Context) error {
	flow := Flow{Table: Cluster, Cookie: newCookie(KindContinue, netip.Addr{}, 0), Goto: Cluster + 1}
	c := s.register("look at its cached flows again", nil)
	defer s.forget(c)
	b, err := flowMod(Change{Op: touchFlow, Flow: flow}, c.xid)
	if err != nil {
		return err
	}
	if err := s.write(b); err != nil {
		return err
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	return firstRefusal([]*call{c})
}

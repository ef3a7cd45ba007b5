// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// fall is that this node was declared failed. Until the controller takes it
// back, under another id, it has nothing to say in the cluster.
type fall struct {
	epoch uint64 // of the failure; 0: this node stands
	// bound: the failure is of this boot, or its programs work under the failed
	// id: there may be sockets of the VIPs, and they must go.
	bound   bool
	reason  state.FailureReason
	busy    bool      // the sockets are being destroyed
	retryAt time.Time // not before, after a failure of that
	cleared uint64    // the newest failure after which all of them were gone
	problem string    // that kept them from being destroyed; empty: none
}

// down tells whether the node is failed and not taken back yet.
func (f fall) down() bool { return f.epoch != 0 }

// hasFallen tells whether the View has the node as failed.
func hasFallen(v state.View, name topology.NodeName) bool {
	return v.Cluster != nil && v.Nodes[name].State == state.NodeFailed
}

// endedBoot is the boot that the node's failure ended, and how it was found.
func endedBoot(v state.View, n state.Node) (incarnation string, reason state.FailureReason) {
	if f, there := v.Failures[n.Failure]; there {
		return f.Incarnation, f.Reason
	}
	return n.Incarnation, "reason unknown"
}

// onFall takes a View in which this node is failed.
func (c *core) onFall(now time.Time, v state.View) (out []action) {
	c.view = v
	n := v.Nodes[c.about.Name]
	boot, reason := endedBoot(v, n)
	isNew := n.Failure != c.fall.epoch
	c.fall.epoch, c.fall.reason = n.Failure, reason
	c.fall.bound = boot == c.about.Incarnation || boot == "" || c.ready
	if isNew {
		out = append(out, c.fall.tell())
	}
	return append(append(out, c.followServices(now)...), c.clear(now)...)
}

func (f fall) tell() action {
	args := []any{"failure", f.epoch, "reason", string(f.reason)}
	if f.bound {
		return say{slog.LevelError, "this node was declared failed: it stands down", args}
	}
	return say{slog.LevelWarn, "this node was declared failed before it was booted: it waits for another id", args}
}

// clear asks for the sockets of the VIPs to be destroyed, if there may be any.
func (c *core) clear(now time.Time) []action {
	f := &c.fall
	if !f.down() || !f.bound || f.busy || f.cleared >= f.epoch || now.Before(f.retryAt) {
		return nil
	}
	f.busy = true
	return []action{standDown{f.epoch, tables{services: wantServices(c.view.Services)}.vips()}}
}

// onStoodDown takes the outcome. What failed is tried again.
func (c *core) onStoodDown(now time.Time, ev stoodDown) []action {
	f := &c.fall
	f.busy = false
	if ev.err == nil {
		f.cleared, f.problem = max(f.cleared, ev.epoch), ""
		told := say{slog.LevelWarn, "this node has no connection of the VIPs left: it waits for another id",
			[]any{"failure", ev.epoch, "destroyed", ev.destroyed}}
		return append([]action{told}, c.report(false)...)
	}
	f.retryAt = now.Add(retryDelay(ev.err))
	if problem := ev.err.Error(); problem != f.problem {
		f.problem = problem
		told := say{slog.LevelError, "this node can not stand down as it should: it is tried again", []any{"err", ev.err}}
		return append([]action{told}, c.report(false)...)
	}
	return nil
}

// rise makes the node begin anew when it was taken back: it listens first, and
// all that it wants is brought into the kernel again. If there are programs in the
// kernel, their load tables are of before the failure.
func (c *core) rise(now time.Time, as topology.NodeID) []action {
	if !c.fall.down() {
		return nil
	}
	programmed := c.installed || c.fall.cleared >= c.fall.epoch
	c.fall = fall{cleared: c.fall.cleared}
	c.want, c.listening = tables{self: bpf.Self{ID: as}}, now.Add(c.patience())
	out := []action{say{slog.LevelInfo, "this node is taken back under another id", []any{"node_id", as}}}
	if programmed {
		out = append(out, c.firstLoads(now)...)
	}
	return out
}

// warning is what the record says of it; nil: the node stands.
func (f fall) warning() []string {
	switch {
	case !f.down():
		return nil
	case f.problem != "":
		return []string{fmt.Sprintf("declared failed (%s, failure %d), and can not stand down: %s", f.reason, f.epoch, f.problem)}
	}
	return []string{fmt.Sprintf("declared failed (%s, failure %d): waiting for the controller to take this node back", f.reason, f.epoch)}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/topology"
)

// do carries out one action.
func (a *agent) do(ctx context.Context, act action) {
	switch act := act.(type) {
	case install:
		a.install(ctx, act.want)
	case setLoads:
		a.wrote(ctx, act.service, a.installer.filter.SetLoads(act.service, act.table))
	case setSourceHash:
		a.wrote(ctx, act.service, a.installer.filter.SetSourceHash(act.service, act.table))
	case send:
		a.broadcast(act.frames)
	case ask:
		a.ask(act.questions)
	case runChecks:
		a.checkers.replace(ctx, act.services)
	case watchConns:
		offer(a.rules, act.rules)
		offer(a.surveyed, slices.SortedFunc(maps.Keys(act.rules.services), netip.AddrPort.Compare))
	case publish:
		select {
		case a.records <- act.record:
		case <-ctx.Done():
		}
	case scheduleLoads:
		a.scheduleLoads()
	case countFrame:
		a.metrics.countFrame(act.as)
	case setPickable:
		a.metrics.showPickable(act)
	case setReach:
		a.metrics.etcdReachable.Set(oneIf(act.ok))
	case say:
		a.log.Log(ctx, act.level, act.message, act.args...)
	}
}

// install brings tables into the kernel and tells core how far it came. What
// failed is tried again by retryInstall.
func (a *agent) install(ctx context.Context, want tables) {
	had := a.installer.filter != nil
	err := a.installer.install(want)
	if !had && a.installer.filter != nil {
		a.metrics.kernel.setFilter(a.installer.filter)
		a.startConns(a.installer.filter)
		a.log.Info("the filter is attached", "node_id", want.self.ID)
	}
	a.metrics.slotEpoch.Set(float64(a.installer.epoch))
	done := installed{epoch: a.installer.epoch}
	a.want = nil
	if err != nil {
		a.metrics.tableErrors.Inc()
		a.log.Error("tables are not whole in the kernel", "err", err)
		done.failed = []string{"not installed: " + err.Error()}
		a.want, a.retryAt = &want, time.Now().Add(retryDelay(err))
	}
	a.step(ctx, done)
}

// retryDelay is how long to wait before installing again.
func retryDelay(err error) time.Duration {
	if errors.Is(err, errOpenFilter) {
		return reopenAfter
	}
	return time.Second
}

func (a *agent) retryInstall(ctx context.Context) {
	if a.want != nil && !time.Now().Before(a.retryAt) {
		a.install(ctx, *a.want)
	}
}

// wrote takes the outcome of writing a load or source-hash table.
func (a *agent) wrote(ctx context.Context, service topology.ServiceID, err error) {
	if err == nil {
		a.stale = false
		return
	}
	a.metrics.tableErrors.Inc()
	if !a.stale {
		a.log.Error("load tables can not be written: this node picks by old loads", "service_id", service, "err", err)
	}
	a.stale = true
	a.step(ctx, notWritten{service})
}

// broadcast sends frames. That it fails, an interface being down, is said once.
func (a *agent) broadcast(frames [][]byte) {
	for _, f := range frames {
		err := a.wire.broadcast(f)
		if err == nil {
			a.metrics.sent.Inc()
		} else {
			a.metrics.sendFailed.Inc()
		}
		if err != nil && !a.mute {
			a.log.Error("heartbeats can not be sent: the other nodes will suspect this one", "err", err)
		}
		a.mute = err != nil
	}
}

// scheduleLoads makes sure that loads are looked at soon, and loadsEvery after
// the last time at the earliest.
func (a *agent) scheduleLoads() {
	if a.loadsSoon {
		return
	}
	a.loadsSoon = true
	a.loads.Reset(max(0, loadsEvery-time.Since(a.lastLoads)))
}

// offer puts v into a channel of capacity one, in the place of a value that
// nobody has taken yet. Only one goroutine may send on ch.
func offer[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	ch <- v
}

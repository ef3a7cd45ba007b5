// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/onevip/onevip/bpf"
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
	case pulse:
		a.pulse()
	case ask:
		a.ask(act.questions)
	case setSuspected:
		a.setSuspected(act)
	case standDown:
		a.standDown(ctx, act)
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
	case countRegression:
		a.metrics.kernel.regressions.Add(1)
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
	err := a.openFilter(ctx)
	if err == nil {
		err = a.installer.install(want)
	}
	a.resend.Store(int64(resendPace(want.services)))
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

// openFilter makes sure that there is a filter, and begins what works with it.
func (a *agent) openFilter(ctx context.Context) error {
	if a.installer.filter != nil {
		return nil
	}
	if err := a.installer.ensureFilter(); err != nil {
		return err
	}
	a.log.Info("the filter is attached")
	a.metrics.kernel.setFilter(a.installer.filter)
	a.begin(a.installer.filter)
	a.step(ctx, reportDue{a.violations()}) // what is counted from now on is complained of
	return nil
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

// setSuspected tells the programs; what fails is said once, and tried again.
func (a *agent) setSuspected(act setSuspected) {
	a.metrics.suspected.Set(float64(len(act.nodes)))
	err := a.installer.filter.SetSuspected(act.nodes)
	if err == nil {
		a.suspects = nil
		return
	}
	a.metrics.tableErrors.Inc()
	if a.suspects == nil {
		a.log.Error("suspicions can not be written: SYNs of these nodes wait", "nodes", act.nodes, "err", err)
	}
	a.suspects = &act
}

func (a *agent) retrySuspected() {
	if a.suspects != nil {
		a.setSuspected(*a.suspects)
	}
}

// standDown silences the programs at once, then ends what they let through
// before, beside the loop.
func (a *agent) standDown(ctx context.Context, act standDown) {
	a.want, a.installer.self = nil, bpf.Self{} // the id is void, even if it is given again
	err := a.openFilter(ctx)
	if err == nil {
		err = a.installer.filter.Quiesce()
	}
	if err != nil {
		a.step(ctx, stoodDown{epoch: act.epoch, err: err})
		return
	}
	f := a.installer.filter
	a.beside(func(ctx context.Context) {
		select {
		case a.events <- a.clear(f, act):
		case <-ctx.Done():
		}
	})
}

// clear ends all connections of the VIPs, unless an earlier agent has done so.
func (a *agent) clear(f filter, act standDown) stoodDown {
	done := stoodDown{epoch: act.epoch}
	cleared, err := f.Cleared()
	if err != nil || cleared >= act.epoch {
		done.err = err
		return done
	}
	if done.destroyed, done.err = a.destroy(act.vips); done.err != nil {
		return done
	}
	if done.err = f.SetCleared(act.epoch); done.err == nil {
		a.metrics.standDowns.Inc()
	}
	return done
}

// pulse tells the filter that the agent lives: without it, it does not pick this node.
func (a *agent) pulse() {
	if err := a.installer.filter.Pulse(); err != nil {
		a.metrics.tableErrors.Inc()
		a.log.Error("the filter can not be told that the agent lives: it will not pick this node", "err", err)
	}
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

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/onevip/onevip/bpf"
)

const (
	// resendEvery spaces the looks for SYN/ACKs that are to be sent again, where the
	// first of them is due after a second or more.
	resendEvery = 250 * time.Millisecond
	// resendLeast is the least. The filter looks at its SYN/ACKs when any may be due.
	resendLeast = 25 * time.Millisecond
)

// resendPace is resendEvery, or less where a service wants silent clients to be woken
// early: a quarter of the time that it gives them.
func resendPace(services []bpf.Service) time.Duration {
	pace := resendEvery
	for _, s := range services {
		if s.Policy.Inspects() {
			pace = min(pace, s.Rules.Silent/4)
		}
	}
	return max(pace, resendLeast)
}

// deputy sends the frames that the programs could not: SYN/ACKs in a silent
// primary's place, and those of this node that led to no connection. It runs
// beside the loop, so that no client waits for what the loop is busy with. What
// else the programs have to say it passes on.
type deputy struct {
	filter  filter
	wire    wire
	log     *slog.Logger
	metrics *metrics
	events  chan<- event
	guard   *guard
	pace    *atomic.Int64 // a time.Duration: resendPace of the services there are
	failing bool          // to send again: said once
}

// run acts on notices until ctx ends. Without notices SYNs wait for their
// primary, as without speculation: that is said, and no reason to stop the agent.
func (d *deputy) run(ctx context.Context) {
	notices, err := d.filter.Notices()
	if err != nil {
		d.log.Error("the programs' notices can not be read: silent primaries are not replaced", "err", err)
		return
	}
	d.metrics.kernel.setNotices(notices)
	stop := context.AfterFunc(ctx, func() { _ = notices.Close() })
	defer stop()
	for {
		n, err := notices.Read()
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			d.log.Error("the programs' notices can not be read: silent primaries are not replaced", "err", err)
			return
		}
		d.heed(n)
	}
}

// heed acts on one notice.
func (d *deputy) heed(n bpf.Notice) {
	switch n.Kind {
	case bpf.NoticeSend:
		d.speculate(n)
	case bpf.NoticeCopy:
		d.copySYN(n)
	case bpf.NoticeStray:
		d.guard.notice(n.Flow)
	}
}

// speculate sends first, and tells the loop if it has time for it: a notice that
// it misses only delays its suspicion.
func (d *deputy) speculate(n bpf.Notice) {
	if err := d.wire.send(n.Frame); err != nil {
		d.metrics.speculationFailed.Inc()
		return
	}
	d.metrics.speculated.Inc()
	select {
	case d.events <- speculated{n.Primary}:
	default:
	}
}

// copySYN sends a SYN to the owner that the next notice names.
func (d *deputy) copySYN(n bpf.Notice) {
	if err := d.wire.send(n.Frame); err != nil {
		d.metrics.speculationFailed.Inc()
	}
}

// resend sends SYN/ACKs again, until ctx ends.
func (d *deputy) resend(ctx context.Context) {
	timer := time.NewTimer(resendLeast)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			d.say(d.resendDue())
			timer.Reset(time.Duration(d.pace.Load()))
		}
	}
}

func (d *deputy) resendDue() error {
	now, err := bpf.Now()
	if err != nil {
		return err
	}
	frames, err := d.filter.Unheard(now)
	for _, f := range frames {
		sent := d.wire.send(f)
		if sent == nil {
			d.metrics.resent.Inc()
		}
		err = errors.Join(err, sent)
	}
	return err
}

// say tells once that SYN/ACKs can not be sent again.
func (d *deputy) say(err error) {
	if err != nil && !d.failing {
		d.log.Error("SYN/ACKs that led to no connection can not be sent again", "err", err)
	}
	d.failing = err != nil
}

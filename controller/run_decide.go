// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/onevip/onevip/state"
)

// decide writes what Decide says.
func (l *loop) decide(ctx context.Context) {
	fresh, err := l.keys()
	if err != nil {
		l.Log.Error("no random bytes for keys", "err", err)
		l.retryAt = time.Now().Add(retryAfter)
		return
	}
	now, seen := time.Now(), l.sight()
	if l.deaf {
		l.deafAt = now
	}
	decision := Decide(Input{
		Config: l.Cluster, View: l.last.View, Now: now, LoadsAt: l.loadsAt, Fresh: fresh,
		Down: seen.down, Away: seen.away, Back: seen.back, Fenced: seen.fenced, Deaf: l.deafAt, Elected: l.elected,
	})
	l.next, l.deaf = decision.Next, decision.Deaf
	l.warn(decision.Warnings)
	if len(decision.Changes) == 0 {
		l.elected = false
		return
	}
	revision, err := l.leadership.Apply(ctx, decision.Changes...)
	if err != nil {
		l.writeFailed(ctx, err)
		return
	}
	l.said, l.elected = "", false
	l.floor = revision
	l.metrics.count(l.last.View, decision.Changes)
	for _, event := range decision.Events {
		l.Log.LogAttrs(ctx, event.level(), string(event.Kind), event.attrs()...)
	}
	for _, change := range decision.Changes {
		if _, load := change.Record.(state.Load); load {
			l.loadsAt = now.Add(loadsEvery)
		}
	}
}

// writeFailed looks again at what is stored before it decides again: the write
// may have been done all the same.
func (l *loop) writeFailed(ctx context.Context, err error) {
	l.retryAt = time.Now().Add(retryAfter)
	if ctx.Err() != nil || errors.Is(err, state.ErrNotLeader) {
		return // Done tells
	}
	if !errors.Is(err, state.ErrOutOfReach) && err.Error() != l.said {
		l.said = err.Error()
		l.Log.Error("the state can not be written, trying on", "err", err)
	}
	l.watch(ctx)
}

func (l *loop) keys() (FreshKeys, error) {
	var fresh FreshKeys
	for _, key := range [][]byte{fresh.Heartbeat[:], fresh.Cookie[0][:], fresh.Cookie[1][:], fresh.Cookie[2][:]} {
		if _, err := io.ReadFull(l.random, key); err != nil {
			return FreshKeys{}, err
		}
	}
	return fresh, nil
}

// warn logs what is newly wrong, and what is right again.
func (l *loop) warn(warnings []Warning) {
	now := map[Warning]bool{}
	for _, w := range warnings {
		now[w] = true
		if !l.warned[w] {
			l.Log.Warn(w.Text, "reason", string(w.Reason), "node", string(w.Node))
		}
	}
	for w := range l.warned {
		if !now[w] {
			l.Log.Info("no longer: "+w.Text, "reason", string(w.Reason), "node", string(w.Node))
		}
	}
	l.warned = now
	l.metrics.warnings.Set(float64(len(now)))
}

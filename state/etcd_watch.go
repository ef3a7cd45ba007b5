// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// probePause is the time between two looks at whether etcd still answers: a
// watch alone is silent when its server is.
const probePause = 500 * time.Millisecond

// Watch is Store.Watch. Two watches, one on each side of the connections,
// make one View. So that a transaction on both sides is seen as a whole, Apply
// touches the leader's key (above) in the transaction that changes the cluster
// record (below): whoever sees one waits for the other.
func (e *Etcd) Watch(ctx context.Context) <-chan Update {
	w := &watcher{etcd: e, snap: newSnapshot(), out: make(chan Update, 1)}
	go w.run(ctx)
	return w.out
}

type watcher struct {
	etcd *Etcd
	snap *snapshot
	out  chan Update

	last  View // the newest published
	dirty bool // snap has changed since
	down  bool // the outage is published

	revision int64 // of the newest change above
	cluster  int64 // of the newest change of the cluster record
	awaited  int64 // revision of a change that both sides must have shown
	stuck    int64 // awaited in vain at the last probe; 0: nothing was
}

// run follows etcd until ctx ends, and begins anew from a full read after
// whatever ended the watches: an outage, a compaction.
func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		w.fail(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(probePause / 5):
		}
	}
}

// fail publishes an outage, once.
func (w *watcher) fail(err error) {
	if w.down || errors.Is(err, errResync) {
		return
	}
	w.down = true
	offer(w.out, Update{View: w.last, Err: err})
}

// errResync ends a watch that cannot go on while etcd is well: it fell behind a
// compaction, or waits for what does not come.
var errResync = errors.New("the watch must begin anew")

// follow publishes until something breaks, and returns what.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	items, revision, err := w.etcd.load(ctx)
	if err != nil {
		return err
	}
	w.snap.replace(items)
	w.revision, w.cluster, w.awaited, w.stuck = revision, revision, 0, 0
	w.dirty, w.down = true, false
	w.publish()

	low, lowEnd, high, highEnd := w.etcd.ranges()
	watching := clientv3.WithRequireLeader(ctx)
	late := time.AfterFunc(requestTimeout, cancel) // Watch itself waits for an answer without end
	below := w.etcd.client.Watch(watching, low, clientv3.WithRange(lowEnd), clientv3.WithRev(revision+1))
	above := w.etcd.client.Watch(watching, high, clientv3.WithRange(highEnd), clientv3.WithRev(revision+1))
	if !late.Stop() {
		return fmt.Errorf("watch %s: %w: no answer within %s", w.etcd.prefix, ErrOutOfReach, requestTimeout)
	}
	probes := w.etcd.probe(ctx)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-below:
			err = w.take(resp, ok, w.takeBelow)
		case resp, ok := <-above:
			err = w.take(resp, ok, w.takeAbove)
		case err = <-probes:
			if err == nil {
				err = w.checkStuck()
			}
		}
		if err != nil {
			return err
		}
		w.publish()
	}
}

func (w *watcher) take(resp clientv3.WatchResponse, ok bool, one func(*clientv3.Event)) error {
	if !ok {
		return fmt.Errorf("watch %s: %w", w.etcd.prefix, ErrOutOfReach)
	}
	if resp.CompactRevision != 0 {
		return errResync
	}
	if err := resp.Err(); err != nil {
		return fmt.Errorf("watch %s: %w: %w", w.etcd.prefix, ErrOutOfReach, err)
	}
	for _, event := range resp.Events {
		it := item{key: string(event.Kv.Key), created: event.Kv.CreateRevision}
		if event.Type == mvccpb.Event_PUT {
			it.value = event.Kv.Value
		}
		w.snap.apply(it)
		w.dirty = true
		one(event)
	}
	return nil
}

// takeBelow notes a change of the cluster record: its transaction has a part above.
func (w *watcher) takeBelow(event *clientv3.Event) {
	if key, err := ParseKey(string(event.Kv.Key)); err == nil && key.Kind == KindCluster {
		w.cluster = event.Kv.ModRevision
		w.awaited = max(w.awaited, w.cluster)
	}
}

// takeAbove notes a touched leader key: its transaction has a part below.
func (w *watcher) takeAbove(event *clientv3.Event) {
	w.revision = max(w.revision, event.Kv.ModRevision)
	key, err := ParseKey(string(event.Kv.Key))
	if err == nil && key.Kind == KindLeader && event.IsModify() {
		w.awaited = max(w.awaited, event.Kv.ModRevision)
	}
}

// publish delivers what changed, unless half a transaction is still to come.
func (w *watcher) publish() {
	if !w.dirty || w.half() {
		return
	}
	w.dirty = false
	w.last = w.snap.view(w.revision)
	offer(w.out, Update{View: w.last})
}

// half tells whether a part of a transaction is still to come.
func (w *watcher) half() bool { return w.revision < w.awaited || w.cluster < w.awaited }

// checkStuck ends a watch that has awaited the same from one probe to the next:
// a stranger touched a leader's key, or the cluster record alone. It could also
// be a slow network; reading everything is right for both.
func (w *watcher) checkStuck() error {
	if !w.half() {
		w.stuck = 0
		return nil
	}
	if w.stuck == w.awaited {
		return errResync
	}
	w.stuck = w.awaited
	return nil
}

// probe reads a key now and then, through the quorum, and sends what came of it.
func (e *Etcd) probe(ctx context.Context) <-chan error {
	results := make(chan error)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(probePause):
			}
			select {
			case <-ctx.Done():
				return
			case results <- e.ping(ctx):
			}
		}
	}()
	return results
}

func (e *Etcd) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := e.client.Get(ctx, e.prefix, clientv3.WithCountOnly()); err != nil {
		return e.failed(ctx, "look whether etcd answers", err)
	}
	return nil
}

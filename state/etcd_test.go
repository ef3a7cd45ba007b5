// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestDialRefuses(t *testing.T) {
	tests := []struct {
		name string
		cfg  DialConfig
		want string
	}{
		{"no endpoint", DialConfig{Cluster: "c"}, "no etcd endpoint"},
		{"no cluster", DialConfig{Endpoints: []string{"http://127.0.0.1:1"}}, "want a name without a slash"},
		{"no scheme", DialConfig{Cluster: "c", Endpoints: []string{"127.0.0.1:2379"}}, "want http://host:port"},
		{"mixed", DialConfig{Cluster: "c", Endpoints: []string{"http://a:1", "https://b:1"}}, "all http or all https"},
		{"certificates for http", DialConfig{Cluster: "c", Endpoints: []string{"http://a:1"}, CA: "ca.pem"}, "write https://"},
		{"no such file", DialConfig{Cluster: "c", Endpoints: []string{"https://a:1"}, CA: "/no/such.pem"}, "/no/such.pem"},
		{"no key", DialConfig{Cluster: "c", Endpoints: []string{"https://a:1"}, Cert: "a.pem"}, "etcd certificates"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Dial(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v: want %q in it", err, tt.want)
			}
		})
	}
}

// TestLeases: whatever takes a lease away, its holder notices.
func TestLeases(t *testing.T) {
	running := startEmbedded(t, t.TempDir(), "http://127.0.0.1:0")
	e := dial(t, "test", running.Endpoint())
	updates := e.Watch(t.Context())
	revokeAll := func() {
		leases, err := e.client.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, lease := range leases.Leases {
			if _, err := e.client.Revoke(t.Context(), lease.ID); err != nil {
				t.Fatal(err)
			}
		}
	}

	t.Run("agent", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		records, ended := make(chan Agent, 1), make(chan error, 1)
		records <- Agent{Name: "n1"}
		go func() { ended <- e.KeepAgent(ctx, records) }()
		await(t, updates, "record", func(u Update) bool { return len(u.View.Agents) == 1 })
		revokeAll()
		await(t, updates, "loss", func(u Update) bool { return len(u.View.Agents) == 0 })
		await(t, updates, "return", func(u Update) bool { return len(u.View.Agents) == 1 })
		stop()
		if err := receive(t, ended, "end"); err != nil {
			t.Error(err)
		}
	})
	t.Run("leader", func(t *testing.T) {
		l := lead(t, e, "c1")
		revokeAll()
		receive(t, l.Done(), "end of the leadership")
		if _, err := l.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}); !errors.Is(err, ErrNotLeader) {
			t.Errorf("write: %v, want ErrNotLeader", err)
		}
	})
	t.Run("leader key deleted by hand", func(t *testing.T) {
		l := lead(t, e, "c1")
		if _, err := e.client.Delete(t.Context(), e.prefix+"leader/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}); !errors.Is(err, ErrNotLeader) {
			t.Errorf("write: %v, want ErrNotLeader", err)
		}
		receive(t, l.Done(), "end of the leadership")
	})
	t.Run("leader key touched by hand", func(t *testing.T) {
		l := lead(t, e, "c1")
		if _, err := e.client.Put(t.Context(), l.(*leadership).election.Key(), `{"schema":1,"name":"c1"}`); err != nil {
			t.Fatal(err)
		}
		revision, err := l.Apply(t.Context(), Change{Record: Node{Name: "n5", ID: 5}})
		if err != nil {
			t.Fatal(err)
		}
		await(t, updates, "later write", func(u Update) bool { return u.View.Revision >= revision })
	})
}

// TestSilentOutage: no reset, no refusal, just no answer.
func TestSilentOutage(t *testing.T) {
	running := startEmbedded(t, t.TempDir(), "http://127.0.0.1:0")
	line := newLine(t, strings.TrimPrefix(running.Endpoint(), "http://"))
	e := dial(t, "test", "http://"+line.addr())
	updates := e.Watch(t.Context())
	l := lead(t, dial(t, "test", running.Endpoint()), "c1")
	await(t, updates, "calm", func(u Update) bool { return u.View.Leader == "c1" })

	line.cut()
	cut := time.Now()
	u := await(t, updates, "outage", func(u Update) bool { return u.Err != nil })
	took := time.Since(cut)
	t.Logf("noticed after %v", took)
	if took > 5*time.Second || u.View.Leader != "c1" {
		t.Errorf("noticed after %v with leader %q: want about two seconds, and the last view", took, u.View.Leader)
	}
	revision := churn(t, e, running, l) // history that the watch cannot resume from
	line.mend()
	await(t, updates, "recovery", func(u Update) bool { return u.Err == nil && u.View.Revision >= revision })
}

// churn writes and compacts behind the watcher's back.
func churn(t *testing.T, e *Etcd, running *Embedded, l Leadership) int64 {
	t.Helper()
	var revision int64
	for i := range 20 {
		var err error
		if revision, err = l.Apply(t.Context(), Change{Record: sampleSlots(uint64(i + 1))}); err != nil {
			t.Fatal(err)
		}
	}
	direct := dial(t, e.cluster, running.Endpoint())
	if _, err := direct.client.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	return revision
}

// TestCompactedWatch: a watch that etcd cannot serve begins anew, without an outage.
func TestCompactedWatch(t *testing.T) {
	running := startEmbedded(t, t.TempDir(), "http://127.0.0.1:0")
	e := dial(t, "test", running.Endpoint())
	revision := churn(t, e, running, lead(t, e, "c1"))
	stale := <-e.client.Watch(t.Context(), e.prefix, clientv3.WithPrefix(), clientv3.WithRev(1))
	w := &watcher{etcd: e, snap: newSnapshot(), out: make(chan Update, 1)}
	err := w.take(stale, true, w.takeAbove)
	if !errors.Is(err, errResync) {
		t.Fatalf("error %v after compaction at %d: want errResync", err, revision)
	}
	if w.fail(err); len(w.out) != 0 {
		t.Errorf("published %+v: a compaction is no outage", <-w.out)
	}
}

// line is a TCP proxy that can fall silent.
type line struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	open     *sync.Cond
	silent   bool
	conns    []net.Conn
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, target: target}
	l.open = sync.NewCond(&l.mu)
	var running sync.WaitGroup
	running.Go(func() { l.serve(&running) })
	t.Cleanup(func() {
		_ = listener.Close()
		l.mend()
		l.mu.Lock()
		for _, conn := range l.conns {
			_ = conn.Close()
		}
		l.mu.Unlock()
		running.Wait()
	})
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }
func (l *line) cut()         { l.set(true) }
func (l *line) mend()        { l.set(false) }

func (l *line) set(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = silent
	l.open.Broadcast()
}

func (l *line) serve(running *sync.WaitGroup) {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		running.Go(func() { l.pass(near, far) })
		running.Go(func() { l.pass(far, near) })
	}
}

func (l *line) pass(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		for l.silent {
			l.open.Wait()
		}
		l.mu.Unlock()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

func testSuccession(t *testing.T, w world) {
	updates := w.Watch(t.Context())
	first := lead(t, w, "c1")
	await(t, updates, "leader c1", func(u Update) bool { return u.View.Leader == "c1" && u.View.Term == first.Term() })
	second := make(chan Leadership, 1)
	go func() {
		if l, err := w.Campaign(t.Context(), "c2"); err == nil {
			second <- l
		}
	}()
	if _, err := first.Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}); err != nil {
		t.Fatal(err)
	}
	if len(second) > 0 {
		t.Fatal("two leaders")
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, first.Done(), "end of the first leadership")
	if err := first.Resign(t.Context()); err != nil {
		t.Errorf("give up what is gone: %v", err)
	}
	next := receive(t, second, "second leader")
	if next.Term() <= first.Term() {
		t.Errorf("term %d after %d: want it to grow", next.Term(), first.Term())
	}
	if _, err := first.Apply(t.Context(), Change{Record: Node{Name: "n2", ID: 2}}); !errors.Is(err, ErrNotLeader) {
		t.Errorf("write of the first leader: %v, want ErrNotLeader", err)
	}
	u := await(t, updates, "leader c2", func(u Update) bool { return u.View.Leader == "c2" && u.View.Term == next.Term() })
	if len(u.View.Nodes) != 1 {
		t.Errorf("nodes %v: want n1 alone", u.View.Nodes)
	}
	if err := next.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, updates, "no leader", func(u Update) bool { return u.View.Leader == "" && u.View.Term == 0 })
}

func testCandidateQuits(t *testing.T, w world) {
	first := lead(t, w, "c1")
	ctx, quit := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := w.Campaign(ctx, "c2")
		ended <- err
	}()
	await(t, w.Watch(t.Context()), "the leader", func(u Update) bool { return u.View.Leader == "c1" })
	for w.candidates(t) < 2 {
		runtime.Gosched()
	}
	quit()
	if err := receive(t, ended, "end of the campaign"); !errors.Is(err, context.Canceled) {
		t.Errorf("campaign ended with %v", err)
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	lead(t, w, "c3") // c2 must not be in the way
}

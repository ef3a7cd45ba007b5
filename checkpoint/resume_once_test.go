// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// greetRaw says hello by hand and returns the checkpoint that follows accept,
// or the refusal.
func greetRaw(t *testing.T, w *world, token []byte) ([]byte, error) {
	t.Helper()
	conn, err := w.connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := hello{stream: StreamID{5}, maxToken: 1 << 16, replay: 1 << 16, token: token}
	if _, err := conn.Write(frame(frameHello, h.encode())); err != nil {
		t.Fatal(err)
	}
	any := func(header) error { return nil }
	kind, payload, err := readFrame(conn, any)
	if err != nil {
		t.Fatal(err)
	}
	if kind == frameRefusal {
		r, err := parseRefusal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return nil, r
	}
	if _, payload, err = readFrame(conn, any); err != nil {
		t.Fatal(err)
	}
	return payload, nil
}

// TestOnceRefusesASecondResume presents checkpoints as a client that replays
// would.
func TestOnceRefusesASecondResume(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{Once: &MemoryOnce{}})
	first, err := greetRaw(t, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := greetRaw(t, w, first)
	if err != nil {
		t.Fatal(err)
	}
	third, err := greetRaw(t, w, second)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string][]byte{"none": nil, "first": first, "second": second} {
		if _, err := greetRaw(t, w, token); !errors.Is(err, ErrReplayed) {
			t.Errorf("%s checkpoint again: error %v, want %v", name, err, ErrReplayed)
		}
	}
	if _, err := greetRaw(t, w, third); err != nil {
		t.Errorf("the unused checkpoint: %v", err)
	}
}

// TestOnceStreamsResume is the ordinary life of such a service.
func TestOnceStreamsResume(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{Once: &MemoryOnce{}})
	s := dialWorld(t, w, nil)
	for i := range 8 {
		fmt.Fprint(s, "a\n")
		expectLine(t, s, fmt.Sprintf("%d a\n", i+1))
		lose(s)
	}
}

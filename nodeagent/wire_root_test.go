// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

// Heartbeats of many services go from one namespace to another.
func TestHeartbeatsOverVeth(t *testing.T) {
	here := enterNamespace(t)
	peer := newPeer(t, here)
	var near, far *rawWire
	var err error
	if near, err = listenWire(interfaceOf(t, "eth0")); err != nil {
		t.Fatal(err)
	}
	defer near.close()
	inside(t, peer, func() {
		if far, err = listenWire(interfaceOf(t, "eth0")); err != nil {
			t.Fatal(err)
		}
	})
	defer far.close()

	ctx, cancel := context.WithCancel(t.Context())
	echoes, arrived, ended := make(chan []byte, 100), make(chan []byte, 100), make(chan error, 2)
	go func() { ended <- near.receive(ctx, func(b []byte) { echoes <- b }) }()
	go func() { ended <- far.receive(ctx, func(b []byte) { arrived <- b }) }()

	want := bigHeartbeat()
	frames := want.encode(testKey, near.mtu)
	for _, f := range frames {
		if err := near.broadcast(f); err != nil {
			t.Fatal(err)
		}
	}
	got := heartbeat{Node: want.Node, Sequence: want.Sequence}
	for i := range frames {
		select {
		case frame := <-arrived:
			part, refused := decode(frame[headerSize:], testKey)
			if refused != accepted {
				t.Fatalf("frame %d refused: %s", i, refused)
			}
			got.Services = join(got.Services, part.Services)
		case <-time.After(time.Minute):
			t.Fatalf("frame %d of %d did not arrive", i, len(frames))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("receive ended with %v", err)
		}
	}
	if len(echoes) > 0 {
		t.Errorf("%d own frames came back", len(echoes))
	}
}

// bigHeartbeat needs several frames.
func bigHeartbeat() heartbeat {
	h := heartbeat{Node: 3, Sequence: 7}
	for service := range topology.ServiceID(10) {
		s := serviceBeat{Service: service, Healthy: true, Active: 5}
		for id := range topology.NodeID(40) {
			s.Adopted = append(s.Adopted, adoption{id + 1, uint64(id) << 33})
		}
		h.Services = append(h.Services, s)
	}
	return h
}

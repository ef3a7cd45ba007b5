// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
)

// bury makes a connection and closes it, with five bytes from the client, and
// gives the client's first sequence number and the one behind its FIN.
func (r *rig) bury(t *testing.T, f family) (first, end uint32) {
	t.Helper()
	c := r.connect(t, f)
	first = sequence(t, c.client, sendQueue)
	if _, err := c.client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.server.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c.client.Close() // first, so that the server has no TIME_WAIT
	c.server.Close()
	var found onevipOvTombstone
	waitFor(t, "tombstone", func() bool {
		return r.f.objs.Tombstones.Lookup(f.flow(webPort), &found) == nil
	})
	end = first + 5 + 1
	if want := (onevipOvTombstone{Isn: first - 1, RcvNxt: end, Self: uint32(rigSelf)}); found != want {
		t.Fatalf("tombstone %+v, want %+v", found, want)
	}
	return first, end
}

// watchSockets attaches the program that sees sockets close.
func (r *rig) watchSockets(t *testing.T) {
	t.Helper()
	r.trace(t, r.f.objs.OnevipSockets)
}

func (r *rig) trace(t *testing.T, program *ebpf.Program) {
	t.Helper()
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// A connection that has closed: its first segment runs nothing twice, what else
// belongs to it gets the kernel's RST, and a newer one on its tuple gets silence.
func TestFixtureTombstone(t *testing.T) {
	r := newRig(t)
	r.watchSockets(t)
	for _, f := range families {
		first, end := r.bury(t, f)
		withData := f.attempt(first-1, rigSelf)
		withData.PSH = true
		tests := []struct {
			name string
			tcp  layers.TCP
			want Reason
		}{
			{"its first segment again", f.attempt(first-1, rigSelf), ReasonDuplicate},
			{"its first segment with a request", withData, ReasonDuplicate},
			{"data behind its end", layers.TCP{ACK: true, PSH: true, Seq: end, Ack: 1}, ReasonClosed},
			{"its FIN again", layers.TCP{ACK: true, FIN: true, Seq: end - 1, Ack: 1}, ReasonClosed},
			{"an ACK that looks like another's cookie", layers.TCP{ACK: true, Seq: end, Ack: 9 << 24}, ReasonClosed},
			{"an ACK that looks like our cookie", layers.TCP{ACK: true, Seq: end, Ack: 7<<24 | 100&3<<19 | 5}, ReasonClosed},
			{"FIN without ACK bit's fellow", layers.TCP{SYN: true, ACK: true, Seq: end, Ack: 1}, ReasonClosed},
			{"far behind its end", layers.TCP{ACK: true, Seq: end + 1<<21, Ack: 1}, ReasonForeign},
			{"before its beginning", layers.TCP{ACK: true, Seq: first - 2, Ack: 1}, ReasonForeign},
			{"RST", layers.TCP{RST: true, Seq: end}, ReasonForeign},
		}
		for _, tt := range tests {
			r.run(t, f.name+" "+tt.name, func(t *testing.T) {
				r.expect(t, f.segment(webPort, tt.tcp), tt.want)
			})
		}
		r.testNewAttempt(t, f, first, end)
		r.testForgotten(t, f, end)
	}
}

// testNewAttempt: once the tuple is known to be in use again, nothing that comes
// for it is answered here any more.
func (r *rig) testNewAttempt(t *testing.T, f family, first, end uint32) {
	old := f.segment(webPort, layers.TCP{ACK: true, Seq: end, Ack: 1})
	again := func(t *testing.T, frame []byte, want Reason) {
		r.expect(t, old, ReasonClosed)
		r.expect(t, frame, want)
		r.expect(t, old, ReasonForeign)
		grave := onevipOvTombstone{Isn: first - 1, RcvNxt: end, Self: uint32(rigSelf)}
		if err := r.f.objs.Tombstones.Put(f.flow(webPort), grave); err != nil {
			t.Fatal(err)
		}
	}
	r.run(t, f.name+" then a SYN", func(t *testing.T) {
		again(t, f.segment(webPort, plainOffer(webPort).syn()), ReasonAnswered)
	})
	r.run(t, f.name+" then another's cookie, its SYN missed", func(t *testing.T) {
		again(t, f.segment(webPort, f.attempt(end+50, rigOther)), ReasonForeign)
	})
	r.run(t, f.name+" then the old SYN again", func(t *testing.T) {
		o := plainOffer(webPort)
		o.isn = first - 1
		r.expect(t, f.segment(webPort, o.syn()), ReasonAnswered)
		r.expect(t, old, ReasonClosed)
	})
}

// testForgotten: after a cookie's lifetime the tombstone no longer counts.
func (r *rig) testForgotten(t *testing.T, f family, end uint32) {
	r.run(t, f.name+" after a cookie's lifetime", func(t *testing.T) {
		frame := f.segment(webPort, layers.TCP{ACK: true, Seq: end, Ack: 1})
		r.expect(t, frame, ReasonClosed)
		r.age(t, 121)
		r.expect(t, frame, ReasonForeign)
	})
}

// age makes all closings this many seconds older.
func (r *rig) age(t *testing.T, seconds uint32) {
	t.Helper()
	var bucket uint32
	var trace onevipOvTrace
	it := r.f.objs.Traces.Iterate()
	aged := 0
	for it.Next(&bucket, &trace) {
		if trace.Closed == 0 {
			continue
		}
		trace.Closed -= seconds
		if err := r.f.objs.Traces.Update(bucket, trace, ebpf.UpdateExist); err != nil {
			t.Fatal(err)
		}
		aged++
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	if aged == 0 {
		t.Fatal(errors.New("no closing is known"))
	}
}

// A node that failed and is back under another id is silent about what it closed
// before: a guard may have taken the connection over.
func TestFixtureTombstoneOfAnotherId(t *testing.T) {
	r := newRig(t)
	r.watchSockets(t)
	for _, f := range families {
		_, end := r.bury(t, f)
		late := f.segment(webPort, layers.TCP{ACK: true, PSH: true, Seq: end, Ack: 1})
		r.expect(t, late, ReasonClosed)
		r.check(r.f.Quiesce())
		r.check(r.f.SetSelf(Self{ID: rigSelf + 1, WindowScale: 7}))
		r.expect(t, late, ReasonForeign)
		r.check(r.f.Quiesce())
		r.check(r.f.SetSelf(Self{ID: rigSelf, WindowScale: 7}))
	}
}

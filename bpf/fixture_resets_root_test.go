// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// Without the filter a foreign segment comes up, and the kernel resets it: that is
// what counts. A RST that a connection's end owes does not.
func TestFixtureStrayResetsAreCounted(t *testing.T) {
	r := newRig(t)
	r.trace(t, r.f.objs.OnevipResets)
	r.routeClients(t)
	for _, f := range families {
		f = f.remote()
		midStream := layers.TCP{ACK: true, Seq: 70000, Ack: 80000}
		tests := []struct {
			name     string
			port     uint16
			tcp      layers.TCP
			tomb     bool
			listener bool
			want     uint64
		}{
			{"no socket", webPort, midStream, false, false, 1},
			{"a listener only", webPort, midStream, false, true, 1},
			{"no service", noPort, midStream, false, false, 0},
			{"a connection that was here", webPort, midStream, true, false, 0},
			{"a RST is not answered", webPort, layers.TCP{RST: true, Seq: 70000}, false, false, 0},
		}
		for _, tt := range tests {
			r.run(t, f.name+" "+tt.name, func(t *testing.T) {
				if tt.listener {
					defer r.listen(t, f.to(tt.port)).Close()
				}
				if tt.tomb {
					key := Flow{f.from(), f.to(tt.port)}.key()
					r.check(r.f.objs.Tombstones.Put(key, onevipOvTombstone{Isn: 1}))
					defer func() { r.check(r.f.objs.Tombstones.Delete(key)) }()
				}
				before := r.violations(t)["stray_rst"].Times
				r.write(t, f.segment(tt.port, tt.tcp))
				if !tt.tcp.RST && r.heard(t, f.isResetFrom(tt.port)) == nil {
					t.Fatal("the kernel sent no RST: the test tests nothing")
				}
				got := r.violations(t)["stray_rst"]
				if got.Times-before != tt.want {
					t.Fatalf("%d stray RSTs, want %d", got.Times-before, tt.want)
				}
				if tt.want == 0 {
					return
				}
				want := Sight{At: got.Last.At, Flow: Flow{f.from(), f.to(tt.port)}, Seq: tt.tcp.Seq, Ack: tt.tcp.Ack, Flags: 16, Interface: got.Last.Interface}
				if got.Last != want || got.Last.Interface == 0 || got.Last.At == 0 {
					t.Fatalf("seen last: %+v, want %+v", got.Last, want)
				}
			})
		}
	}
}

// A client on the node itself is no other node's.
func TestFixtureResetsOverLoAreNoStrays(t *testing.T) {
	r := newRig(t)
	r.trace(t, r.f.objs.OnevipResets)
	for _, f := range families {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(f.from())}
		if _, err := d.Dial("tcp", f.to(quietPort).String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("%s: dial: %v, want a refusal by RST", f.name, err)
		}
	}
	r.expectViolations(t, 0)
}

// isResetFrom tells the RST that a port of the VIP sends.
func (f family) isResetFrom(port uint16) func([]byte) bool {
	return func(frame []byte) bool {
		at := f.l4()
		return len(frame) >= at+20 && be.Uint16(frame[at:]) == port && frame[at+13]&4 != 0
	}
}

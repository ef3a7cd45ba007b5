// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestQueueAgainstSlice compares queue with a plain slice.
func TestQueueAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{limit: rapid.IntRange(1, 100).Draw(t, "limit")}
		var all []byte // everything ever pushed and not truncated
		var base uint64
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "p")
				n := q.push(p)
				if want := min(len(p), q.limit-(len(all)-int(base))); n != want {
					t.Fatalf("pushed %d, want %d", n, want)
				}
				all = append(all, p[:n]...)
			},
			"drop": func(t *rapid.T) {
				to := rapid.Uint64Range(0, uint64(len(all))).Draw(t, "to")
				q.drop(to)
				base = max(base, to)
			},
			"truncate": func(t *rapid.T) {
				to := rapid.Uint64Range(base, uint64(len(all))).Draw(t, "to")
				q.truncate(to)
				all = all[:to]
			},
			"": func(t *rapid.T) {
				if q.base != base || q.end() != uint64(len(all)) {
					t.Fatalf("holds %d to %d, want %d to %d", q.base, q.end(), base, len(all))
				}
				got := make([]byte, 200)
				got = got[:q.peek(got, base)]
				if !bytes.Equal(got, all[base:]) {
					t.Fatalf("holds %x, want %x", got, all[base:])
				}
				if cap(q.buf) > 4*q.limit+keepEmpty {
					t.Fatalf("%d bytes of memory for a limit of %d", cap(q.buf), q.limit)
				}
			},
		})
	})
}

// line is a model of a server for the receiver: output byte i is byte(i), and a
// checkpoint may come anywhere.
type line struct {
	at    uint64 // next byte on the link
	token []byte // what the client would present
	pos   Position
	seq   uint64
}

// TestReceiverAgainstCounting drives the client's decisions through links that
// end anywhere, and compares what is handed on with simple counting.
func TestReceiverAgainstCounting(t *testing.T) {
	sealer := newTestSealer("test", NewKeyRing(GenerateKey()))
	rapid.Check(t, func(t *rapid.T) {
		hold := rapid.Bool().Draw(t, "hold")
		r := receiver{stream: StreamID{1}}
		var handed []byte // by the receiver, in order
		var held []byte   // not yet committed
		srv := line{}
		connect := func() {
			srv.at = srv.pos.Out
			if err := r.accept(accept{hold: hold, in: srv.pos.In, out: srv.pos.Out}); err != nil {
				t.Fatal(err)
			}
			held = held[:0]
		}
		connect()
		t.Repeat(map[string]func(*rapid.T){
			"data": func(t *rapid.T) {
				n := rapid.IntRange(1, 50).Draw(t, "n")
				skip, fresh := r.split(n)
				for i := range skip + fresh {
					b := byte(srv.at)
					srv.at++
					switch {
					case i < skip:
					case hold:
						held = append(held, b)
					default:
						handed = append(handed, b)
					}
				}
				r.skipped(skip)
				r.took(fresh)
			},
			"checkpoint": func(t *rapid.T) {
				srv.pos = Position{In: srv.pos.In + rapid.Uint64Range(0, 9).Draw(t, "in"), Out: srv.at}
				srv.seq++
				srv.token = sealer.seal(nil, StreamID{1}, srv.seq, srv.pos, nil, noon)
				if err := r.checkpoint(srv.token, 1<<60); err != nil {
					t.Fatal(err)
				}
				handed = append(handed, held...)
				held = held[:0]
			},
			"skip": func(t *rapid.T) {
				if r.have > srv.at {
					srv.at = rapid.Uint64Range(srv.at, r.have).Draw(t, "to")
					if err := r.offset(srv.at); err != nil {
						t.Fatal(err)
					}
				}
			},
			"lost": func(*rapid.T) { connect() },
			"": func(t *rapid.T) {
				if uint64(len(handed)) != r.deliverable() {
					t.Fatalf("deliverable %d, handed on %d", r.deliverable(), len(handed))
				}
				for i, b := range handed {
					if b != byte(i) {
						t.Fatalf("byte %d is %d", i, b)
					}
				}
				if !bytes.Equal(r.token, srv.token) {
					t.Fatal("not the newest checkpoint")
				}
			},
		})
	})
}

func TestReceiverRefusesNonsense(t *testing.T) {
	sealer := newTestSealer("test", NewKeyRing(GenerateKey()))
	token := func(id StreamID, seq, in, out uint64) []byte {
		return sealer.seal(nil, id, seq, Position{In: in, Out: out}, nil, noon)
	}
	fresh := func() receiver {
		r := receiver{stream: StreamID{1}}
		r.took(100)
		if err := r.checkpoint(token(StreamID{1}, 5, 10, 100), 50); err != nil {
			t.Fatal(err)
		}
		return r
	}
	cases := []struct {
		name string
		do   func(*receiver) error
	}{
		{"resumed elsewhere in the output", func(r *receiver) error { return r.accept(accept{in: 10, out: 99}) }},
		{"resumed elsewhere in the input", func(r *receiver) error { return r.accept(accept{in: 11, out: 100}) }},
		{"another way of delivery", func(r *receiver) error { return r.accept(accept{hold: true, in: 10, out: 100}) }},
		{"skip beyond what is there", func(r *receiver) error { return r.offset(101) }},
		{"skip backwards", func(r *receiver) error { return r.offset(99) }},
		{"checkpoint at another offset", func(r *receiver) error { return r.checkpoint(token(StreamID{1}, 6, 10, 99), 50) }},
		{"checkpoint of another stream", func(r *receiver) error { return r.checkpoint(token(StreamID{2}, 6, 10, 100), 50) }},
		{"older checkpoint", func(r *receiver) error { return r.checkpoint(token(StreamID{1}, 5, 10, 100), 50) }},
		{"covers input never sent", func(r *receiver) error { return r.checkpoint(token(StreamID{1}, 6, 51, 100), 50) }},
		{"covers less input", func(r *receiver) error { return r.checkpoint(token(StreamID{1}, 6, 9, 100), 50) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := fresh()
			if err := c.do(&r); !errors.Is(err, ErrProtocol) {
				t.Errorf("error %v, want %v", err, ErrProtocol)
			}
		})
	}
}

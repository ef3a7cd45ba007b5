// SPDX-License-Identifier: Apache-2.0

package checkpoint

// receiver decides, at the client, what becomes of each piece of output. It
// knows no connection and no clock.
//
// Invariants: committed <= have; wire <= have except while a link is new; every
// byte below have was handed on exactly once; token covers exactly committed.
type receiver struct {
	stream   StreamID
	maxToken int

	wire      uint64 // offset of the next byte of output on the link
	have      uint64 // output so far: everything before was handed on
	committed uint64 // covered by token
	token     []byte // newest checkpoint; nil before the first
	tokenIn   uint64 // input that it covers
	seq       uint64
	hold      bool // hand on only what is committed
	ended     bool

	repeated uint64 // bytes discarded because they were there already
}

// accept begins a link. With hold, what no checkpoint covers was never handed
// on, and is forgotten.
func (r *receiver) accept(a accept) error {
	if r.token != nil && a.hold != r.hold {
		return refuse(ReasonProtocol, "server changed its way of delivery")
	}
	if a.out != r.committed || a.in != r.tokenIn {
		return refuse(ReasonProtocol, "server resumes at in %d, out %d, the checkpoint says %d, %d",
			a.in, a.out, r.tokenIn, r.committed)
	}
	r.hold, r.wire = a.hold, a.out
	if r.hold {
		r.have = r.committed
	}
	return nil
}

// offset is the server's word that it left out output up to there.
func (r *receiver) offset(to uint64) error {
	if to < r.wire || to > r.have {
		return refuse(ReasonProtocol, "server skips to %d, allowed are %d to %d", to, r.wire, r.have)
	}
	r.wire = to
	return nil
}

// split says how the next n bytes of output divide: skip bytes were there
// before, the rest is new.
func (r *receiver) split(n int) (skip, fresh int) {
	if r.wire >= r.have {
		return 0, n
	}
	skip = int(min(r.have-r.wire, uint64(n)))
	return skip, n - skip
}

// skipped and took record what was done with bytes that came.
func (r *receiver) skipped(n int) {
	r.wire += uint64(n)
	r.repeated += uint64(n)
}

func (r *receiver) took(n int) {
	r.wire += uint64(n)
	r.have += uint64(n)
}

// checkpoint takes a new checkpoint; sent is the input that left this client.
func (r *receiver) checkpoint(b []byte, sent uint64) error {
	t, err := parseToken(b)
	if err != nil {
		return err
	}
	switch {
	case t.stream != r.stream:
		return refuse(ReasonProtocol, "server sent a checkpoint of stream %s", t.stream)
	case t.pos.Out != r.wire:
		return refuse(ReasonProtocol, "checkpoint at output %d came at %d", t.pos.Out, r.wire)
	case t.pos.In < r.tokenIn || t.pos.In > sent:
		return refuse(ReasonProtocol, "checkpoint covers input %d, allowed are %d to %d", t.pos.In, r.tokenIn, sent)
	case t.seq <= r.seq:
		return refuse(ReasonProtocol, "checkpoint %d came after %d", t.seq, r.seq)
	}
	r.token, r.tokenIn, r.seq, r.committed = b, t.pos.In, t.seq, t.pos.Out
	return nil
}

// deliverable is the offset up to which the application may have the output.
func (r *receiver) deliverable() uint64 {
	if r.hold {
		return r.committed
	}
	return r.have
}

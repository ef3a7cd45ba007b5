// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/dchest/siphash"

	"github.com/onevip/onevip/topology"
)

// AskKind is what one node asks another.
type AskKind uint8

const (
	// AskAlive asks whether the node's kernel runs, its agent or not.
	AskAlive AskKind = 1
	// AskWhoHas asks whether the node's kernel has a socket for the flow.
	AskWhoHas AskKind = 2
)

// Question is a probe frame to one node: docs/formats/ask.md.
type Question struct {
	Kind  AskKind
	Asked topology.NodeID
	// Nonce comes back in the answer, and must be new for each question.
	Nonce uint64
	// Flow of AskWhoHas.
	Flow Flow
	// From is our MAC, To the asked node's.
	From, To topology.MAC
}

// Answer is what came back to a question. Its MAC was right, so it is from a
// node that holds the cluster's keys; that it is to a question of ours, the nonce
// must tell.
type Answer struct {
	Kind  AskKind
	Asked topology.NodeID
	Nonce uint64
	Flow  Flow
	Yes   bool
}

// ErrNoAnswer says that a frame is no answer, but a heartbeat or something else.
// Returned by ParseAnswer.
var ErrNoAnswer = errors.New("no answer to a question")

// ErrForgedAnswer says that an answer is under no key of ours, or its MAC is
// wrong. Returned by ParseAnswer.
var ErrForgedAnswer = errors.New("answer under no key of ours, or with a wrong MAC")

// ErrNoKey says that there are no cookie keys yet to sign with. Returned by
// Question.
var ErrNoKey = errors.New("no cookie keys yet")

// The frame, as docs/formats/ask.md has it: offsets from its first byte.
const (
	askEtherType = 0x88B5
	askMagic     = "1ASK"
	askVersion   = 1
	askSize      = 78

	askAtKind   = 19
	askAtFlags  = 20
	askAtAsked  = 21
	askAtNonce  = 22
	askAtClient = 30
	askAtVIP    = 46
	askAtPorts  = 62
	askAtEpoch  = 66
	askAtMAC    = 70

	askAnswer = 1
	askYes    = 2
)

// Question makes the frame of a question, signed under the current cookie key.
func (f *Filter) Question(q Question) ([]byte, error) {
	f.mu.Lock()
	key := f.config.Keys[f.config.Epoch&3]
	f.mu.Unlock()
	if key.Valid == 0 {
		return nil, ErrNoKey
	}
	frame := make([]byte, askSize)
	copy(frame, q.To[:])
	copy(frame[6:], q.From[:])
	binary.BigEndian.PutUint16(frame[12:], askEtherType)
	copy(frame[14:], askMagic)
	frame[18], frame[askAtKind], frame[askAtAsked] = askVersion, uint8(q.Kind), uint8(q.Asked)
	binary.BigEndian.PutUint64(frame[askAtNonce:], q.Nonce)
	if q.Kind == AskWhoHas {
		q.Flow.put(frame[askAtClient:])
	}
	binary.BigEndian.PutUint32(frame[askAtEpoch:], key.Epoch)
	binary.LittleEndian.PutUint64(frame[askAtMAC:], askMAC(key, frame))
	return frame, nil
}

// put writes addresses and ports as the maps and frames have them.
func (f Flow) put(out []byte) {
	client, vip := f.Client.Addr().As16(), f.VIP.Addr().As16()
	copy(out, client[:])
	copy(out[16:], vip[:])
	binary.BigEndian.PutUint16(out[32:], f.Client.Port())
	binary.BigEndian.PutUint16(out[34:], f.VIP.Port())
}

func readFlow(in []byte) Flow {
	addr := func(at, port int) netip.AddrPort {
		a := netip.AddrFrom16([16]byte(in[at:])).Unmap()
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(in[port:]))
	}
	return Flow{Client: addr(0, 32), VIP: addr(16, 34)}
}

func askMAC(key onevipOvKey, frame []byte) uint64 {
	return siphash.Hash(key.K0, key.K1, frame[14:askAtMAC])
}

// ParseAnswer reads a frame from the cluster's network. Errors: ErrNoAnswer,
// ErrForgedAnswer.
func (f *Filter) ParseAnswer(frame []byte) (Answer, error) {
	if len(frame) < askSize || binary.BigEndian.Uint16(frame[12:]) != askEtherType ||
		string(frame[14:18]) != askMagic || frame[18] != askVersion || frame[askAtFlags]&askAnswer == 0 {
		return Answer{}, ErrNoAnswer
	}
	epoch := binary.BigEndian.Uint32(frame[askAtEpoch:])
	f.mu.Lock()
	key := f.config.Keys[epoch&3]
	f.mu.Unlock()
	if key.Valid == 0 || key.Epoch != epoch {
		return Answer{}, fmt.Errorf("%w: epoch %d", ErrForgedAnswer, epoch)
	}
	if binary.LittleEndian.Uint64(frame[askAtMAC:]) != askMAC(key, frame) {
		return Answer{}, ErrForgedAnswer
	}
	a := Answer{
		Kind: AskKind(frame[askAtKind]), Asked: topology.NodeID(frame[askAtAsked]),
		Nonce: binary.BigEndian.Uint64(frame[askAtNonce:]), Yes: frame[askAtFlags]&askYes != 0,
	}
	if a.Kind == AskWhoHas {
		a.Flow = readFlow(frame[askAtClient:])
	}
	return a, nil
}

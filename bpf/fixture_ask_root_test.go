// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/topology"
)

var askerMAC, askedMAC = topology.MAC{2, 0, 0x5e, 0, 9, 1}, topology.MAC{2, 0, 0x5e, 0, 9, 2}

func (r *rig) question(t *testing.T, q Question) []byte {
	t.Helper()
	q.From, q.To = askerMAC, askedMAC
	frame, err := r.f.Question(q)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// expectAnswer asks the program, and reads what it sends back.
func (r *rig) expectAnswer(t *testing.T, q Question, want bool) {
	t.Helper()
	got := r.expect(t, r.question(t, q), ReasonAsked)
	if !bytes.Equal(got.frame[:6], askerMAC[:]) || !bytes.Equal(got.frame[6:12], askedMAC[:]) {
		t.Fatalf("the answer goes from %x to %x", got.frame[6:12], got.frame[:6])
	}
	a, err := r.f.ParseAnswer(got.frame)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Answer{q.Kind, q.Asked, q.Nonce, q.Flow, want}, a, cmp.Comparer(func(a, b Flow) bool { return a == b })); diff != "" {
		t.Fatalf("answer (-want +got):\n%s", diff)
	}
	if up := r.expect(t, got.frame, ReasonNotVIP); !bytes.Equal(up.frame, got.frame) {
		t.Fatal("the answer was changed on its way up")
	}
}

func TestFixtureAskedWhetherAlive(t *testing.T) {
	r := newRig(t)
	r.expectAnswer(t, Question{Kind: AskAlive, Asked: rigSelf, Nonce: 1<<63 | 5}, true)
	r.expectAnswer(t, Question{Kind: 77, Asked: rigSelf, Nonce: 6}, false)
}

func TestFixtureAskedWhoHas(t *testing.T) {
	r := newRig(t)
	for _, f := range families {
		has := Question{Kind: AskWhoHas, Asked: rigSelf, Nonce: 3, Flow: Flow{f.from(), f.to(webPort)}}
		r.run(t, f.name+" nothing", func(t *testing.T) { r.expectAnswer(t, has, false) })
		r.run(t, f.name+" a listener", func(t *testing.T) {
			l := r.listen(t, f.to(webPort))
			r.expectAnswer(t, has, false)
			l.Close()
		})
		c := r.connect(t, f)
		r.run(t, f.name+" a socket", func(t *testing.T) {
			r.expectAnswer(t, has, true)
			other := has
			other.Flow.Client = f.to(has.Flow.Client.Port())
			r.expectAnswer(t, other, false)
		})
		c.server.Close()
		r.awaitRest(t, "FIN_WAIT2", "05")
		r.run(t, f.name+" FIN_WAIT2", func(t *testing.T) { r.expectAnswer(t, has, true) })
		r.closeServerFirst(t, c)
		r.run(t, f.name+" TIME_WAIT", func(t *testing.T) { r.expectAnswer(t, has, false) })
	}
}

// Three epochs count, as for cookies; the asked node answers under the question's.
func TestFixtureAskedInOtherEpochs(t *testing.T) {
	r := newRig(t)
	alive := Question{Kind: AskAlive, Asked: rigSelf, Nonce: 9}
	frame := r.question(t, alive)
	for _, tt := range []struct {
		epoch uint32
		want  Reason
	}{{99, ReasonAsked}, {101, ReasonAsked}, {102, ReasonAskForged}, {104, ReasonAskForged}} {
		r.setKeys(t, testKeys(tt.epoch))
		got := r.expect(t, frame, tt.want)
		if _, err := r.f.ParseAnswer(got.frame); tt.want == ReasonAsked && err != nil {
			t.Fatalf("epoch %d: %v", tt.epoch, err)
		}
	}
	r.setKeys(t, CookieKeys{Epoch: 100})
	r.expect(t, frame, ReasonAskForged)
	if _, err := r.f.Question(alive); !errors.Is(err, ErrNoKey) {
		t.Fatalf("a question without keys: %v", err)
	}
}

// No bit of a question may change, but the MACs of Ethernet; nor of its answer.
func TestFixtureForgedQuestion(t *testing.T) {
	r := newRig(t)
	f := families[1]
	frame := r.question(t, Question{Kind: AskWhoHas, Asked: rigSelf, Nonce: 7, Flow: Flow{f.from(), f.to(webPort)}})
	answer := r.expect(t, frame, ReasonAsked).frame
	for i := 14 * 8; i < len(frame)*8; i++ {
		want := ReasonAskForged
		switch at := i / 8; {
		case at < askAtKind, at == askAtFlags && i%8 == 7:
			want = ReasonNotVIP // no question
		case at == askAtAsked:
			want = ReasonAskOther
		}
		if got := r.send(t, flip(frame, i)); got.reason != want {
			t.Fatalf("bit %d flipped: reason %s, want %s", i, got.reason, want)
		}
		if a, err := r.f.ParseAnswer(flip(answer, i)); err == nil {
			t.Fatalf("bit %d of the answer flipped: taken for %+v", i, a)
		}
	}
	if _, err := r.f.ParseAnswer(frame); !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("the question read as an answer: %v", err)
	}
	r.expect(t, frame[:askSize-1], ReasonNotVIP)
	r.expect(t, append(frame, 0, 0), ReasonAsked)
}

// Heartbeats share the EtherType, and go up.
func TestFixtureHeartbeatGoesUp(t *testing.T) {
	r := newRig(t)
	frame := r.question(t, Question{Kind: AskAlive, Asked: rigSelf})
	copy(frame[14:], "1VIP")
	r.expect(t, frame, ReasonNotVIP)
}

// A node that has no id yet, or another one, is not the one asked.
func TestFixtureOtherNodeAsked(t *testing.T) {
	r := newRig(t)
	r.expect(t, r.question(t, Question{Kind: AskAlive, Asked: rigOther}), ReasonAskOther)
	r.f.config.Self = 0
	r.check(r.f.applyConfig())
	r.expect(t, r.question(t, Question{Kind: AskAlive}), ReasonAskOther)
	r.expect(t, r.question(t, Question{Kind: AskAlive, Asked: rigSelf}), ReasonAskOther)
}

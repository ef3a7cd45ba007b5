// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/topology"
)

func flowNumber(n int) bpf.Flow {
	client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 1, byte(n >> 16)}), uint16(n))
	return bpf.Flow{Client: client, VIP: netip.AddrPortFrom(vip4, 80)}
}

// inquiryRig answers the questions of inquiries as a script says.
type inquiryRig struct {
	t      *testing.T
	q      *inquiries
	now    time.Time
	askees []askee
	sent   []bpf.Question // of the last step
	ended  []string       // outcome and owner
}

func newInquiryRig(t *testing.T, nodes ...topology.NodeID) *inquiryRig {
	r := &inquiryRig{t: t, q: newInquiries(mac1, 1000), now: time.Unix(1000, 0)}
	for _, id := range nodes {
		r.askees = append(r.askees, askee{id, topology.MAC{2, 0, 0, 0, 0, byte(id)}})
	}
	return r
}

func (r *inquiryRig) step() {
	var ended []finding
	r.sent, ended = r.q.step(r.now, r.askees)
	for _, f := range ended {
		r.end(&f)
	}
}

func (r *inquiryRig) end(f *finding) {
	if f != nil {
		r.ended = append(r.ended, fmt.Sprint(f.outcome, " ", f.owner))
	}
}

func (r *inquiryRig) wantAsked(ids ...topology.NodeID) {
	r.t.Helper()
	var got []topology.NodeID
	for _, q := range r.sent {
		got = append(got, q.Asked)
		if q.Kind != bpf.AskWhoHas || q.From != mac1 || q.To != (topology.MAC{2, 0, 0, 0, 0, byte(q.Asked)}) {
			r.t.Errorf("question is %+v", q)
		}
	}
	if diff := cmp.Diff(ids, got, cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func (r *inquiryRig) answer(nonce uint64, id topology.NodeID, yes bool) {
	r.end(r.q.answer(r.now, bpf.Answer{Kind: bpf.AskWhoHas, Asked: id, Nonce: nonce, Flow: flowNumber(1), Yes: yes}))
}

func (r *inquiryRig) wantEnded(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.ended, cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("ended (-want +got):\n%s", diff)
	}
}

func TestAllSayNo(t *testing.T) {
	r := newInquiryRig(t, 2, 3)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.q.add(r.now, suspect{flow: flowNumber(1)}) // again
	r.step()
	r.wantAsked(2, 3)
	nonce := r.sent[0].Nonce
	r.answer(nonce, 2, false)
	r.answer(nonce, 2, false) // a duplicate is no second node
	r.answer(nonce+1, 3, false)
	r.answer(nonce, 9, false)
	r.wantEnded()
	r.answer(nonce, 3, false)
	r.wantEnded("condemned 0")
	r.answer(nonce, 3, true)
	r.now = r.now.Add(time.Minute)
	r.step()
	r.wantAsked()
	r.wantEnded("condemned 0")
}

func TestOneSaysYes(t *testing.T) {
	r := newInquiryRig(t, 2, 3)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.answer(r.sent[0].Nonce, 3, true)
	r.wantEnded("owned 3")
	r.now = r.now.Add(ownedFor - 1)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.wantAsked()
	r.q.doubt() // a node has failed
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.wantAsked(2, 3)
}

func TestOneIsSilent(t *testing.T) {
	r := newInquiryRig(t, 2, 3)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.answer(r.sent[0].Nonce, 3, false)
	for range askTimes - 1 {
		r.now = r.now.Add(askEvery - 1)
		r.step()
		r.wantAsked()
		r.now = r.now.Add(1)
		if at := r.q.next(r.now); at.After(r.now) {
			t.Errorf("next is %v after it is due", at.Sub(r.now))
		}
		r.step()
		r.wantAsked(2) // who answered is not asked again
	}
	r.now = r.now.Add(askEvery)
	r.step()
	r.wantAsked()
	r.wantEnded("silent 0")
}

func TestASilentOneIsFenced(t *testing.T) {
	r := newInquiryRig(t, 2, 3)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.answer(r.sent[0].Nonce, 3, false)
	for _, f := range r.q.follow(r.now, r.askees[1:]) {
		r.end(&f)
	}
	r.wantEnded("condemned 0")
}

func TestNobodyToAsk(t *testing.T) {
	r := newInquiryRig(t)
	r.q.add(r.now, suspect{flow: flowNumber(1)})
	r.step()
	r.wantAsked()
	r.wantEnded("condemned 0")
}

// Questions keep to the rate, inquiries and those that wait to their bounds.
func TestInquiriesAreBounded(t *testing.T) {
	r := newInquiryRig(t, 2)
	for n := range maxSuspects {
		if !r.q.add(r.now, suspect{flow: flowNumber(n)}) {
			t.Fatalf("no room for suspect %d", n)
		}
	}
	if r.q.add(r.now, suspect{flow: flowNumber(maxSuspects)}) {
		t.Error("more suspects than the bound says")
	}
	sent := 0
	for range 10 {
		r.step()
		sent += len(r.sent)
		r.now = r.now.Add(pace)
	}
	if most := questionBurst + int(9*pace.Seconds()*questionRate); sent > most || sent < questionBurst {
		t.Errorf("asked %d questions in 9 steps, want %d to %d", sent, questionBurst, most)
	}
	for range 1000 {
		r.now = r.now.Add(pace)
		r.q.asked = nil // nobody waits for answers
		r.step()
	}
	if len(r.q.open) != maxInquiries {
		t.Errorf("%d inquiries under way, want %d", len(r.q.open), maxInquiries)
	}
}

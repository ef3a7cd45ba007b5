// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/bpf"
	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// sniff gives what was sent of SYN/ACKs since it was plugged in: here frames
// that begin with S.
func (w *memoryWire) sniff() (out []string) {
	for range len(w.frames) {
		if f := <-w.frames; f[0] == 'S' {
			out = append(out, string(f))
		}
	}
	return out
}

func deaf([]byte) []byte { return nil }

func TestSYNsAreAnsweredInASilentPrimarysPlace(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.start("n2", 200)
		b.pass(time.Second + 50*time.Millisecond) // heartbeats are half an interval away
		m.take()
		sniffer := b.wires.plug(deaf)
		for range suspectAfter {
			m.filter.notices.next <- bpf.Notice{Kind: bpf.NoticeSend, Primary: 2, Owner: 1, Frame: []byte("SYN/ACK in its place")}
		}
		b.pass(time.Millisecond)
		if diff := cmp.Diff(slices.Repeat([]string{"SYN/ACK in its place"}, suspectAfter), sniffer.sniff()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		wantMetric(t, m, "onevip_agent_speculations_total", suspectAfter)
		wantMetric(t, m, "onevip_agent_suspected_nodes", 1)
		if got := m.take(); !slices.Contains(got, "suspected [2]") {
			t.Errorf("done to the kernel: %q, want the primary suspected", got)
		}
		b.pass(100 * time.Millisecond)
		wantMetric(t, m, "onevip_agent_suspected_nodes", 0)
	})
}

func TestUnheardSYNACKsAreSentAgain(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		b.pass(time.Second)
		sniffer := b.wires.plug(deaf)
		m.filter.locked(func() { m.filter.unheard = [][]byte{[]byte("S1"), []byte("S2")} })
		b.pass(resendEvery)
		if diff := cmp.Diff([]string{"S1", "S2"}, sniffer.sniff()); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		wantMetric(t, m, "onevip_agent_synacks_resent_total", 2)
	})
}

// A client that says nothing is woken when its service says so, not when it suits us.
func TestSilentClientsAreWokenInTime(t *testing.T) {
	for _, tt := range []struct {
		policy topology.Policy
		silent time.Duration
		want   time.Duration
	}{
		{topology.LeastConnection, 100 * time.Millisecond, resendEvery}, // rules of a policy that does not inspect
		{topology.Locality, 3 * time.Second, resendEvery},
		{topology.Locality, 400 * time.Millisecond, 100 * time.Millisecond},
		{topology.BoundedHash, 100 * time.Millisecond, resendLeast},
		{topology.BoundedHash, time.Millisecond, resendLeast},
	} {
		services := []bpf.Service{{Policy: topology.RoundRobin}, {Policy: tt.policy, Rules: bpf.Rules{Silent: tt.silent}}}
		if got := resendPace(services); got != tt.want {
			t.Errorf("%s, silent after %s: looks each %s, want %s", tt.policy, tt.silent, got, tt.want)
		}
	}
	inBubble(t, func(b *bubble) {
		v := testView()
		withPolicy(topology.Locality)(&v)
		v.Services["web"].Locality.Silent.After = state.Duration(100 * time.Millisecond)
		b.apply(v)
		m := b.start("n1", 100)
		b.pass(time.Second)
		sniffer := b.wires.plug(deaf)
		m.filter.locked(func() { m.filter.unheard = [][]byte{[]byte("S1")} })
		b.pass(resendLeast)
		if got := sniffer.sniff(); len(got) != 1 {
			t.Errorf("sent %q within %s, want the one", got, resendLeast)
		}
	})
}

func TestASuspicionThatCanNotBeWrittenIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		other := b.start("n2", 200)
		b.pass(time.Second)
		m.take()
		m.fail("suspected", errors.New("map is gone"))
		other.wire.setCut(true)
		b.pass(700 * time.Millisecond)
		if got := b.view().Agents["n1"].Suspects["n2"]; got.Agentless || got.Since.IsZero() {
			t.Errorf("suspicion is %+v", got)
		}
		m.fail("suspected", nil)
		b.pass(time.Second)
		if got := m.take(); !slices.Contains(got, "suspected [2]") {
			t.Errorf("done to the kernel: %q", got)
		}
		other.wire.setCut(false)
		b.pass(100 * time.Millisecond)
		if got := b.view().Agents["n1"].Suspects; len(got) > 0 {
			t.Errorf("still suspects %v", got)
		}
	})
}

// An agent that is killed leaves programs that answer.
func TestAKilledAgentIsAgentless(t *testing.T) {
	inBubble(t, func(b *bubble) {
		m := b.start("n1", 100)
		other := b.start("n2", 200)
		b.pass(time.Second)
		other.stop()
		b.pass(time.Second)
		if got := b.view().Agents["n1"].Suspects["n2"]; !got.Agentless {
			t.Errorf("suspicion is %+v, want one of an agentless node", got)
		}
		b.wantListed(m, 1)
		wantMetric(t, m, "onevip_agent_suspected_nodes", 0)
	})
}

// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Two rounds, one without a fault: what is outside of the two seconds does not
// count, nor do the streams of others, unless they end.
func TestSummarise(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	after := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	connect := func(ms, took int) Connect {
		return Connect{At: after(ms), Took: time.Duration(took) * time.Millisecond}
	}
	failed := Connect{At: after(10), Took: time.Second, Err: "timeout"}
	broken := connect(20, 3)
	broken.Broken = "reset"
	rounds := []Round{
		{Mode: On, At: at, Victim: "n1", Trace: Trace{Connects: []Connect{connect(-5, 900), connect(1, 1), connect(2, 2), connect(3, 3)}}},
		{
			Mode: On, Fault: "crash", At: at, Victim: "n1", DoubleOwners: 1,
			Trace: Trace{
				Connects: []Connect{connect(-1, 500), connect(0, 2), failed, broken, connect(1999, 52), connect(2000, 700)},
				Streams: []Stream{
					{Node: "n1", Ended: after(600), Err: "reset"},
					{Node: "n1", Talking: true, Ended: after(500), Err: "reset"},
					{Node: "n1"},
					{Node: "n1", Ended: after(50), Err: "n1 answered, then n2"},
					{Node: "n2"},
					{Node: "n3", Ended: after(100), Err: "reset"},
				},
			},
		},
	}
	want := map[Fault]map[Mode]Summary{"crash": {On: {
		Rounds: 1, Connects: 4, Failed: 1, Broken: 1,
		AddedP50: 1, AddedP99: 50, AddedMax: 50, BaselineP99: 3, BaselineMax: 3, Resent: 1,
		Streams: 4, StreamsReset: 2, RSTP50: 600, RSTP99: 3500, Touched: 1, DoubleOwners: 2,
	}}}
	if diff := cmp.Diff(want, Summarise(rounds)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDoubleOwners(t *testing.T) {
	saw := func(name string, times int) member {
		return member{Name: name, Violations: map[string]int{"double_owner": times}}
	}
	before := []member{saw("n1", 3), saw("n2", 2), {Name: "n3"}}
	after := []member{saw("n1", 1), saw("n2", 4), {Name: "n3"}, saw("n4", 1)}
	if got := doubleOwners(before, after); got != 4 {
		t.Errorf("%d double owners, want 4: one since n1 was booted, two at n2, one at n4", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/onevip/onevip/state"
)

func connOf(port uint16, cookie uint64) openConn {
	client := netip.AddrPortFrom(netip.MustParseAddr("10.77.1.1"), port)
	return openConn{connKey{client, netip.AddrPortFrom(vip4, 80)}, cookie}
}

func storedConn(port uint16, since time.Time) state.Conn {
	c := connOf(port, 0)
	return state.Conn{Schema: state.Schema, Node: "n1", Service: "web", Client: c.client, VIP: c.vip, Since: since}
}

func testRules() connRules { return wantConns(testView(), "n1") }

func checkDue(t *testing.T, table *connTable, now time.Time, wantPuts, wantGone []state.Conn) {
	t.Helper()
	puts, gone := table.due(now, 100, testRules())
	opts := cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(wantPuts, puts, opts); diff != "" {
		t.Errorf("to store (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantGone, gone, opts); diff != "" {
		t.Errorf("to delete (-want +got):\n%s", diff)
	}
}

func TestYoungConnectionsAreNotStored(t *testing.T) {
	table := newConnTable()
	table.observe(start, []openConn{connOf(1, 11)}, testRules())
	checkDue(t, table, start.Add(4*time.Second), nil, nil)
	checkDue(t, table, start.Add(5*time.Second), []state.Conn{storedConn(1, start)}, nil)
	table.observe(start.Add(5*time.Second), nil, testRules())
	checkDue(t, table, start.Add(9*time.Second), nil, nil)
}

func TestStoredConnectionsAreDeletedWhenGone(t *testing.T) {
	table := newConnTable()
	table.observe(start, []openConn{connOf(1, 11)}, testRules())
	table.put([]state.Conn{storedConn(1, start)}, false)
	checkDue(t, table, start.Add(time.Minute), nil, nil)
	table.observe(start.Add(time.Minute), nil, testRules())
	checkDue(t, table, start.Add(time.Minute), nil, []state.Conn{storedConn(1, start)})
	table.deleted([]state.Conn{storedConn(1, start)})
	checkDue(t, table, start.Add(time.Minute), nil, nil)
}

func TestAnotherConnectionOnTheSameTuple(t *testing.T) {
	table, later := newConnTable(), start.Add(time.Minute)
	table.observe(start, []openConn{connOf(1, 11)}, testRules())
	table.put([]state.Conn{storedConn(1, start)}, false)
	table.observe(later, []openConn{connOf(1, 12)}, testRules())
	checkDue(t, table, later, nil, nil)
	checkDue(t, table, later.Add(5*time.Second), []state.Conn{storedConn(1, later)}, nil)
}

func TestWhatAnEarlierAgentStored(t *testing.T) {
	table, now := newConnTable(), start.Add(time.Hour)
	table.observe(now, []openConn{connOf(1, 11), connOf(3, 13)}, testRules())
	table.recall([]state.Conn{storedConn(1, start), storedConn(2, start)})
	table.observe(now, []openConn{connOf(1, 11), connOf(3, 13)}, testRules())
	checkDue(t, table, now, nil, []state.Conn{storedConn(2, start)})
}

func TestConnectionsOfNoServiceAreIgnored(t *testing.T) {
	table, other := newConnTable(), connOf(1, 11)
	other.vip = netip.AddrPortFrom(vip4, 22)
	table.observe(start, []openConn{other}, testRules())
	if len(table.known) != 0 {
		t.Errorf("%d connections are kept, want none", len(table.known))
	}
}

// Whatever comes and goes, and however often writes fail, half done or not:
// once the store answers again it holds the old enough connections, only those,
// with the right times.
func TestStoreConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := testRules()
		table, store := newConnTable(), map[connKey]state.Conn{}
		now := start
		open := map[connKey]openConn{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			churn(t, open)
			table.observe(now, values(open), rules)
			writeSome(t, table, store, now, rapid.IntRange(0, 3).Draw(t, "limit"), rapid.Bool().Draw(t, "outage"))
		}
		now = now.Add(rules.minAge)
		table.observe(now, values(open), rules)
		writeSome(t, table, store, now, 1000, false)
		if len(store) != len(open) {
			t.Fatalf("%d connections are stored, %d are open", len(store), len(open))
		}
		for key, c := range store {
			if _, there := open[key]; !there || !c.Since.Equal(table.known[key].since) {
				t.Fatalf("stored is %+v, which is not there so", c)
			}
		}
		if stored, backlog := table.stored(now, rules.minAge); stored != len(store) || backlog != 0 {
			t.Fatalf("counts %d stored and %d to do, want %d and 0", stored, backlog, len(store))
		}
	})
}

func churn(t *rapid.T, open map[connKey]openConn) {
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		c := connOf(rapid.Uint16Range(1, 6).Draw(t, "port"), rapid.Uint64Range(1, 1000).Draw(t, "cookie"))
		if rapid.Bool().Draw(t, "closes") {
			delete(open, c.connKey)
			continue
		}
		open[c.connKey] = c
	}
}

func values(open map[connKey]openConn) (out []openConn) {
	for _, c := range open {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b openConn) int { return a.client.Compare(b.client) })
	return out
}

// writeSome plays the writer against a store that, in an outage, may do a write
// and yet give an error.
func writeSome(t *rapid.T, table *connTable, store map[connKey]state.Conn, now time.Time, limit int, outage bool) {
	puts, gone := table.due(now, limit, testRules())
	if len(puts)+len(gone) > limit {
		t.Fatalf("%d writes, limit %d", len(puts)+len(gone), limit)
	}
	done := !outage || rapid.Bool().Draw(t, "done all the same")
	for _, c := range gone {
		if done {
			delete(store, connKey{c.Client, c.VIP})
		}
	}
	for _, c := range puts {
		if done {
			store[connKey{c.Client, c.VIP}] = c
		}
	}
	table.put(puts, outage)
	if !outage {
		table.deleted(gone)
	}
}

func TestDrift(t *testing.T) {
	type look struct {
		before, after, dumped uint32
		want                  bool
	}
	tests := []struct {
		name  string
		looks []look
	}{
		{"right", []look{{5, 5, 5, false}, {5, 5, 5, false}, {5, 5, 5, false}}},
		{"changing meanwhile", []look{{5, 9, 7, false}, {9, 2, 2, false}, {3, 8, 8, false}}},
		{"off for three looks", []look{{5, 5, 4, false}, {5, 5, 4, false}, {5, 5, 4, true}, {4, 4, 4, false}}},
		{"off, but not the same way", []look{{5, 5, 4, false}, {5, 5, 6, false}, {5, 5, 4, false}, {5, 5, 6, false}}},
		{"right between", []look{{5, 5, 9, false}, {5, 5, 9, false}, {5, 5, 5, false}, {5, 5, 9, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d drift
			for i, l := range tt.looks {
				if got := d.judge(l.before, l.after, l.dumped); got != l.want {
					t.Errorf("look %d: correct is %t, want %t", i, got, l.want)
				}
			}
		})
	}
}

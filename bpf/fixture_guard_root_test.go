// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// setRoles gives all slots to these, and before to nobody: that table has a say as well.
func (r *rig) setRoles(t testing.TB, primary, secondary topology.NodeID) {
	t.Helper()
	r.roles(t, Slot{})
	r.roles(t, Slot{Primary: primary, Secondary: secondary})
}

// guarded is what the records of these owners say.
func (r *rig) guarded(t testing.TB, owners ...topology.NodeID) []Guarded {
	t.Helper()
	all, err := r.f.Guarded(owners...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (r *rig) expectGuarded(t testing.TB, want Guarded) {
	t.Helper()
	got := r.guarded(t, want.Owner)
	if len(got) == 1 && got[0].Seen < time.Minute {
		got[0].Seen = want.Seen // a second may pass at any time
	}
	if len(got) != 1 || got[0] != want {
		t.Fatalf("guarded: %+v, want %+v", got, want)
	}
}

func (r *rig) expectUnguarded(t testing.TB) {
	t.Helper()
	all := make([]topology.NodeID, 256)
	for i := range all {
		all[i] = topology.NodeID(i)
	}
	if got := r.guarded(t, all...); len(got) > 0 {
		t.Fatalf("guarded: %+v, want nothing", got)
	}
}

// forgetAll leaves no record.
func (r *rig) forgetAll(t testing.TB) {
	t.Helper()
	for _, g := range r.guarded(t, topology.Undecided, rigSelf, rigOther, rigThird) {
		r.check(r.f.Forget([]Flow{g.Flow}))
	}
	r.expectUnguarded(t)
}

// theirs is a handshake to the web service that names another node.
func (f family) theirs(owner topology.NodeID) cookie {
	o := plainOffer(webPort)
	o.isn = 5000
	return o.cookie(f, owner, 100)
}

// first is its last segment; data sends more from there.
func (f family) first(owner topology.NodeID) layers.TCP {
	return f.theirs(owner).ack(testKeys(100).Current)
}

// data is a frame of the same connection, with n bytes and other timestamps.
func (f family) data(tcp layers.TCP, n int, tsval, tsecr uint32) []byte {
	tcp.SrcPort, tcp.DstPort, tcp.PSH, tcp.Window = clientPort, webPort, n > 0, 501
	tcp.Options = []layers.TCPOption{nop, nop, optionTimestamps(tsval, tsecr)}
	return inbound(f.client, f.vip).tcp(tcp, make([]byte, n))
}

// record is what the first segment leaves.
func (f family) record(owner topology.NodeID) Guarded {
	c := f.theirs(owner)
	key := testKeys(100).Current
	return Guarded{
		Flow: Flow{f.from(), f.to(webPort)}, Owner: owner, Ack: c.isn(key) + 1, Seq: 5001,
		TSVal: 777, TSEcr: c.tsval(key), HasTS: true, ClientMAC: topology.MAC(clientMAC),
	}
}

// The secondary remembers whom a client named, and follows its segments.
func TestFixtureGuardRecord(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	for _, f := range families {
		r.run(t, f.name, func(t *testing.T) {
			first := f.first(rigOther)
			r.expect(t, f.segment(webPort, first), ReasonForeign)
			want := f.record(rigOther)
			r.expectGuarded(t, want)

			first.Seq += 10
			r.expect(t, f.data(first, 100, 800, 900), ReasonForeign)
			want.Seq, want.TSVal, want.TSEcr, want.Data = 5111, 800, 900, true
			r.expectGuarded(t, want)

			late := first
			late.Ack += 3000
			late.Seq -= 10
			r.expect(t, f.data(late, 10, 799, 850), ReasonForeign)
			want.Ack += 3000
			r.expectGuarded(t, want)

			late.Ack, late.Seq, late.FIN = late.Ack+1, want.Seq, true
			r.expect(t, f.data(late, 0, 801, 901), ReasonForeign)
			want.Ack, want.Seq, want.TSVal, want.TSEcr, want.Closing = late.Ack, want.Seq+1, 801, 901, true
			r.expectGuarded(t, want)

			late.Seq, late.FIN = want.Seq, false
			r.expect(t, f.data(late, 0, 801, 901), ReasonForeign) // acknowledges the owner's FIN
			r.expectGuarded(t, want)
			r.expect(t, f.data(late, 50, 801, 901), ReasonForeign)
			want.Seq, want.Closing = want.Seq+50, false // the tuple in use again
			r.expectGuarded(t, want)
			r.testGuardRST(t, f, want.Seq)
		})
	}
}

// testGuardRST: the client ends the connection, if it is the client.
func (r *rig) testGuardRST(t *testing.T, f family, next uint32) {
	t.Helper()
	r.expect(t, f.segment(webPort, layers.TCP{RST: true, Seq: far(next)}), ReasonForeign)
	if len(r.guarded(t, rigOther)) != 1 {
		t.Fatal("a RST from out of the window removed the record")
	}
	r.expect(t, f.segment(webPort, layers.TCP{RST: true, Seq: next}), ReasonForeign)
	r.expectUnguarded(t)
}

// Without timestamps the cookie's options come from the SYN's record.
func TestFixtureGuardWithoutTimestamps(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	for _, f := range families {
		c := f.theirs(rigOther)
		c.timestamps = false
		ack := c.ack(testKeys(100).Current)
		r.expect(t, f.segment(webPort, ack), ReasonForeign)
		want := Guarded{Flow: Flow{f.from(), f.to(webPort)}, Ack: ack.Ack, Seq: 5001, ClientMAC: topology.MAC(clientMAC), Data: true}
		r.expectGuarded(t, want) // the SYN was missed
		r.forgetAll(t)
		r.remember(t, f, c)
		r.expect(t, f.segment(webPort, ack), ReasonForeign)
		want.Owner, want.Data = rigOther, false
		r.expectGuarded(t, want)
		r.forgetAll(t)
	}
}

// Who remembers what, by the roles in the slot.
func TestFixtureGuardRoles(t *testing.T) {
	r := newRig(t)
	f := families[0]
	midStream := layers.TCP{ACK: true, Seq: 90000, Ack: 80000}
	forged := f.first(rigOther)
	forged.Seq++
	tests := []struct {
		name               string
		primary, secondary topology.NodeID
		segment            layers.TCP
		want               topology.NodeID // 255: no record
	}{
		{"secondary, cookie", rigThird, rigSelf, f.first(rigOther), rigOther},
		{"secondary, primary's own", rigThird, rigSelf, f.first(rigThird), rigThird},
		{"secondary, mid-stream", rigThird, rigSelf, midStream, topology.Undecided},
		{"secondary, forged", rigThird, rigSelf, forged, topology.Undecided},
		{"both roles", rigSelf, rigSelf, f.first(rigOther), rigOther},
		{"primary, secondary's", rigSelf, rigOther, f.first(rigOther), rigOther},
		{"primary, another's", rigSelf, rigOther, f.first(rigThird), 255},
		{"primary, forged", rigSelf, rigOther, forged, 255},
		{"primary, mid-stream", rigSelf, rigOther, midStream, 255},
		{"no role", rigOther, rigThird, f.first(rigOther), 255},
		{"no role, mid-stream", rigOther, rigThird, midStream, 255},
		{"nobody's slot", 0, 0, midStream, 255},
	}
	for _, tt := range tests {
		r.run(t, tt.name, func(t *testing.T) {
			r.setRoles(t, tt.primary, tt.secondary)
			r.expect(t, f.segment(webPort, tt.segment), ReasonForeign)
			if tt.want == 255 {
				r.expectUnguarded(t)
			} else if got := r.guarded(t, tt.want); len(got) != 1 {
				t.Fatalf("guarded of %d: %+v, want one", tt.want, got)
			}
			r.forgetAll(t)
		})
	}
}

// A segment to a port without a service leaves no record, and is nobody's stray.
func TestFixtureGuardOfNoService(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	r.setFailed(t, rigOther)
	for _, f := range families {
		stranger := layers.TCP{ACK: true, Seq: 90000, Ack: 80000}
		r.expect(t, f.segment(noPort, stranger), ReasonForeign)
		r.expectUnguarded(t)
		r.expect(t, f.segment(quietPort, stranger), ReasonStray)
		r.forgetAll(t)
	}
}

// A primary that acts for its secondary remembers whom a client named, though it guards
// nobody else's: what follows is no stray.
func TestFixtureActingPrimary(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigSelf, rigOther)
	r.setFailed(t, rigOther)
	for _, f := range families {
		first := f.first(rigThird)
		r.expect(t, f.segment(webPort, first), ReasonForeign)
		want := f.record(rigThird)
		r.expectGuarded(t, want)
		first.Seq, first.Ack = first.Seq+10, first.Ack+5000
		r.expect(t, f.data(first, 100, 800, 900), ReasonForeign)
		want.Seq, want.Ack, want.TSVal, want.TSEcr, want.Data = 5111, first.Ack, 800, 900, true
		r.expectGuarded(t, want)
		r.forgetAll(t)
	}
}

// A slot that moved is watched by those of before too, until other roles come: neither
// the same table again nor a new agent ends that.
func TestFixtureGuardOfMovedSlots(t *testing.T) {
	r := newRig(t)
	f := families[1]
	r.setRoles(t, rigThird, rigSelf)
	moved := Slot{Primary: rigOther, Former: rigThird}
	for _, table := range []Slot{moved, moved, {Primary: rigOther}} {
		r.roles(t, table)
		r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
		r.expectGuarded(t, f.record(rigOther))
		r.forgetAll(t)
		r.check(r.f.adoptConfig())
		if r.f.slots.Former[0] != uint8(table.Former) || r.f.before.Secondary[0] != uint8(rigSelf) {
			t.Fatalf("former primary %d, secondary of before %d: want %d, %d", r.f.slots.Former[0], r.f.before.Secondary[0], table.Former, rigSelf)
		}
	}
	r.setPrimary(t, rigThird)
	r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
	r.expectUnguarded(t)
}

// A tuple that is used again: a valid cookie tells the new owner; what fits neither
// is nobody's that we know.
func TestFixtureGuardOfReusedTuple(t *testing.T) {
	r := newRig(t)
	f := families[0]
	r.setRoles(t, rigThird, rigSelf)
	r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
	r.expect(t, f.data(f.first(rigOther), 50, 778, 5), ReasonForeign)
	r.expect(t, f.segment(webPort, f.attempt(9000, rigThird)), ReasonForeign)
	if got := r.guarded(t, rigThird); len(got) != 1 || got[0].Seq != 9001 || got[0].Data {
		t.Fatalf("guarded: %+v, want a fresh record", got)
	}
	r.expect(t, f.segment(webPort, layers.TCP{ACK: true, Seq: 1 << 28, Ack: 1 << 28}), ReasonForeign)
	if got := r.guarded(t, topology.Undecided); len(got) != 1 || got[0].Seq != 1<<28 || !got[0].Data {
		t.Fatalf("guarded: %+v, want one of an unknown owner", got)
	}
	r.expectViolations(t, 0)
}

// expectViolations looks for double owners, and nothing else.
func (r *rig) expectViolations(t testing.TB, want uint64) {
	t.Helper()
	if got := r.violations(t); got["double_owner"].Times != want || got["stray_rst"].Times != 0 {
		t.Fatalf("violations %+v, want %d double owners", got, want)
	}
}

func (r *rig) violations(t testing.TB) map[string]Violation {
	t.Helper()
	got, err := r.f.Violations()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A client that acknowledges two answers to one SYN breaks I1.
func TestFixtureDoubleOwnerIsCounted(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	for i, f := range families {
		r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
		r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
		r.expect(t, f.segment(webPort, f.attempt(4000, rigThird)), ReasonForeign) // of another handshake
		r.expect(t, f.segment(webPort, f.first(rigOther)), ReasonForeign)
		r.expectViolations(t, uint64(i))
		r.expect(t, f.segment(webPort, f.first(rigThird)), ReasonForeign)
		r.expectViolations(t, uint64(i)+1)
	}
}

// All records are read, of those that are asked for, in batches.
func TestFixtureGuardedOfSeveralOwners(t *testing.T) {
	r := newRig(t)
	want := map[topology.NodeID]int{}
	for i := range 10_000 {
		f := families[i%2]
		owner := []topology.NodeID{0, rigOther, rigThird, 200}[i%4]
		key := f.flow(webPort)
		key.ClientPort = networkOrder(uint16(i + 1))
		r.check(r.f.objs.Guarded.Put(key, onevipOvGuarded{Owner: uint8(owner), Flags: guardNumbered}))
		want[owner]++
	}
	for _, owners := range [][]topology.NodeID{{rigOther}, {0, 200}, {0, rigOther, rigThird, 200}, {3}, nil} {
		got := map[Flow]bool{}
		all := r.guarded(t, owners...)
		for _, g := range all {
			got[g.Flow] = true
			if !slices.Contains(owners, g.Owner) {
				t.Fatalf("asked for %v, got %+v", owners, g)
			}
		}
		sum := 0
		for _, id := range owners {
			sum += want[id]
		}
		if len(got) != sum || len(all) != sum {
			t.Fatalf("of %v: %d records, %d flows, want %d", owners, len(all), len(got), sum)
		}
	}
	oldest := slices.MaxFunc(r.guarded(t, rigOther), func(a, b Guarded) int { return cmp.Compare(a.Seen, b.Seen) })
	if oldest.Seen == 0 {
		t.Error("a record of second 0 was seen just now")
	}
}

// ACKs of connections that nobody has, each with another tuple, must not evict the
// records of those that others have.
func TestFixtureStrangersMakeFewRecords(t *testing.T) {
	r := newRig(t)
	r.setRoles(t, rigThird, rigSelf)
	midStream := layers.TCP{ACK: true, Seq: 90000, Ack: 80000}
	for _, tt := range []struct {
		name  string
		acts  bool
		times uint32 // records made in this second
		want  int
	}{
		{"watching, few", false, 1023, 1},
		{"watching, many", false, 1024, 0},
		{"acting, as many", true, 1024, 1},
		{"acting, more", true, 16384, 0},
	} {
		for _, f := range families {
			r.run(t, tt.name+" "+f.name, func(t *testing.T) {
				if tt.acts {
					r.setFailed(t, rigOther)
				}
				left := r.counted(t, ReasonUnknownMany)
				for second, now := -1, r.second(t); second != now; now = r.second(t) { // until it is all in one
					r.forgetAll(t)
					second, left = now, r.counted(t, ReasonUnknownMany)
					r.check(r.f.objs.Paces.Put(uint32(0), onevipOvPace{Second: uint32(now), Times: tt.times}))
					r.send(t, f.segment(webPort, midStream))
				}
				if got := len(r.guarded(t, topology.Undecided)); got != tt.want {
					t.Errorf("%d records, want %d", got, tt.want)
				}
				if got := r.counted(t, ReasonUnknownMany) - left; got != uint64(1-tt.want) {
					t.Errorf("counted %d as too many, want %d", got, 1-tt.want)
				}
				r.forgetAll(t)
			})
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// dumbSwitch does with changes what a switch does: the model that Diff is
// tested against.
type dumbSwitch struct {
	flows  map[place]Flow
	groups map[GroupID]Group
}

func newDumbSwitch(p Pipeline) *dumbSwitch {
	d := &dumbSwitch{flows: make(map[place]Flow), groups: make(map[GroupID]Group)}
	for _, f := range p.Flows {
		d.flows[f.place()] = f
	}
	for _, g := range p.Groups {
		d.groups[g.ID] = g
	}
	return d
}

// apply makes one change, or says why a switch would refuse it.
func (d *dumbSwitch) apply(c Change) error {
	_, group := d.groups[c.Group.ID]
	old, flow := d.flows[c.Flow.place()]
	switch c.Op {
	case AddGroup:
		if group {
			return fmt.Errorf("%v: it exists", c)
		}
		d.groups[c.Group.ID] = c.Group
	case ReplaceGroup, RemoveGroup:
		if !group {
			return fmt.Errorf("%v: no such group", c)
		}
		d.groups[c.Group.ID] = c.Group
		if c.Op == RemoveGroup {
			delete(d.groups, c.Group.ID)
		}
	case AddFlow, ReplaceFlow, RemoveFlow:
		if flow != (c.Op != AddFlow) {
			return fmt.Errorf("%v: flow there: %v", c, flow)
		}
		if flow && !old.Cookie.Ours() {
			return fmt.Errorf("%v: touches an operator's flow", c)
		}
		d.flows[c.Flow.place()] = c.Flow
		if c.Op == RemoveFlow {
			delete(d.flows, c.Flow.place())
		}
	}
	return d.dangling()
}

// dangling finds one of our flows that refers to a group that is not there.
func (d *dumbSwitch) dangling() error {
	for _, f := range d.flows {
		for _, a := range f.Actions {
			if to, ok := a.(ToGroup); ok && f.Cookie.Ours() {
				if _, there := d.groups[to.Group]; !there {
					return fmt.Errorf("%v refers to no group", f)
				}
			}
		}
	}
	return nil
}

// contents lists all flows and groups as text, rounds left out.
func (d *dumbSwitch) contents() map[string]string {
	texts := make(map[string]string)
	for at, f := range d.flows {
		if f.Cookie.Ours() {
			f.Cookie = f.Cookie.object()
		}
		texts[fmt.Sprintf("%d %d %x", at.table, at.priority, at.match)] = f.String()
	}
	for id, g := range d.groups {
		texts[fmt.Sprint("group ", id)] = g.String()
	}
	return texts
}

// drawPipeline draws few flows at few places, so that pipelines meet. Cookies
// are ours or, where asked for, an operator's.
func drawPipeline(t *rapid.T, label string, foreign bool) Pipeline {
	var p Pipeline
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]GroupID{GroupFlood, GroupMembers}), 0, 2, rapid.ID).Draw(t, label+" groups") {
		p.Groups = append(p.Groups, Group{ID: id, Buckets: drawBuckets(t)})
	}
	if foreign && rapid.Bool().Draw(t, "operator's group") {
		p.Groups = append(p.Groups, Group{ID: 7, Buckets: drawBuckets(t)})
	}
	places := rapid.SliceOfNDistinct(rapid.IntRange(0, 11), 0, 8, rapid.ID).Draw(t, label+" places")
	for _, at := range places {
		p.Flows = append(p.Flows, drawFlow(t, at, p.Groups, foreign))
	}
	return p
}

func drawBuckets(t *rapid.T) []Bucket {
	var buckets []Bucket
	for range rapid.IntRange(0, 2).Draw(t, "buckets") {
		buckets = append(buckets, Bucket{[]Action{Output{rapid.Uint32Range(1, 3).Draw(t, "port")}}})
	}
	return buckets
}

func drawFlow(t *rapid.T, at int, groups []Group, foreign bool) Flow {
	f := Flow{Table: Table(at % 2), Priority: uint16(at / 2 % 2), Goto: Table(rapid.IntRange(2, 3).Draw(t, "goto"))}
	if at >= 4 {
		f.Match = newMatch(fieldNumber(FieldInPort, uint64(at/4)))
	}
	f.Cookie = newCookie(Kind(rapid.IntRange(1, 2).Draw(t, "kind")), netip.Addr{}, 0).
		withRound(uint16(rapid.IntRange(1, 2).Draw(t, "round")))
	if foreign && rapid.Bool().Draw(t, "operator's flow") {
		f.Cookie = 0x99
	}
	if len(groups) > 0 && rapid.Bool().Draw(t, "to group") {
		f.Actions = []Action{ToGroup{rapid.SampledFrom(groups).Draw(t, "group").ID}}
	}
	return f
}

// TestDiff: applied to a dumb switch in their order, the changes lead from any
// pipeline to any other, touch nothing of an operator's, refer at no moment to
// a group that is not there, and a second time there are none.
func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		installed := drawPipeline(t, "installed", true)
		wanted := drawPipeline(t, "wanted", false)
		sw := newDumbSwitch(installed)
		if sw.dangling() != nil {
			t.Skip("not a state that a switch can be in")
		}
		for _, c := range Diff(installed, wanted) {
			if err := sw.apply(c); err != nil {
				t.Fatal(err)
			}
		}
		want := newDumbSwitch(wanted)
		for _, f := range installed.Flows {
			if !f.Cookie.Ours() {
				want.flows[f.place()] = f
			}
		}
		for _, g := range installed.Groups {
			if !g.ID.Ours() {
				want.groups[g.ID] = g
			}
		}
		if diff := cmp.Diff(want.contents(), sw.contents()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if again := Diff(sw.pipeline(), wanted); len(again) != 0 {
			t.Fatalf("a second diff is not empty: %v", again)
		}
	})
}

func (d *dumbSwitch) pipeline() Pipeline {
	var p Pipeline
	for _, f := range d.flows {
		p.Flows = append(p.Flows, f)
	}
	for _, g := range d.groups {
		p.Groups = append(p.Groups, g)
	}
	return p
}

func TestConflicts(t *testing.T) {
	intent, ports := lab()
	wanted := Build(intent, ports)
	operators := wanted.Flows[3]
	operators.Cookie = 0x99
	installed := Pipeline{Flows: []Flow{operators}}

	conflicts := Conflicts(installed, wanted)
	if len(conflicts) != 1 || conflicts[0].place() != operators.place() {
		t.Errorf("conflicts %v, want the one at %v", conflicts, operators)
	}
	for _, c := range Diff(installed, wanted) {
		if !c.ofGroup() && c.Flow.place() == operators.place() {
			t.Errorf("%v would overwrite an operator's flow", c)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strconv"
	"strings"
)

// Flow is one flow entry. Table, Priority and Match are its place in the
// switch: there is at most one flow at a place.
type Flow struct {
	Table    Table
	Priority uint16
	Cookie   Cookie
	Match    Match
	Actions  []Action
	// Goto is the table to go on with after the actions, or 0 for none (no flow
	// goes to the first table).
	Goto Table
	// Idle and Hard are timeouts in seconds. Ours have none.
	Idle, Hard uint16
	// Rest is an operator's: instructions that onevip never installs, as bytes.
	Rest string
}

// String is the text of ovs-ofctl -O OpenFlow13 dump-flows --no-stats, without
// the leading space.
func (f Flow) String() string { return f.text(names{}) }

func (f Flow) text(n names) string {
	var b strings.Builder
	if f.Cookie != 0 {
		fmt.Fprintf(&b, "cookie=%v, ", f.Cookie)
	}
	if f.Table != 0 || n.tables {
		fmt.Fprintf(&b, "table=%s, ", n.table(f.Table))
	}
	if f.Idle != 0 {
		fmt.Fprintf(&b, "idle_timeout=%d, ", f.Idle)
	}
	if f.Hard != 0 {
		fmt.Fprintf(&b, "hard_timeout=%d, ", f.Hard)
	}
	b.WriteString(joinNonEmpty(f.priorityText(), f.Match.text(n)))
	b.WriteString(" actions=" + f.actionsText(n))
	return b.String()
}

// priorityText is empty for the priority that ovs-ofctl takes by default.
func (f Flow) priorityText() string {
	if f.Priority == 32768 {
		return ""
	}
	return "priority=" + strconv.Itoa(int(f.Priority))
}

func (f Flow) actionsText(n names) string {
	text := actionsText(f.Actions, n)
	if f.Rest != "" {
		text = joinNonEmpty(text, fmt.Sprintf("opaque:%x", f.Rest))
	}
	if f.Goto != 0 {
		text = joinNonEmpty(text, "goto_table:"+n.table(f.Goto))
	}
	if text == "" {
		return "drop"
	}
	return text
}

func joinNonEmpty(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "," + b
}

// place identifies a flow in the switch.
type place struct {
	table    Table
	priority uint16
	match    string
}

func (f Flow) place() place { return place{f.Table, f.Priority, f.Match.key()} }

// same tells whether two flows of one place do the same for the same reason.
// Rounds do not count: a new leader need not write anything.
func (f Flow) same(other Flow) bool {
	return f.Cookie.object() == other.Cookie.object() &&
		f.Idle == other.Idle && f.Hard == other.Hard && f.Goto == other.Goto && f.Rest == other.Rest &&
		actionsText(f.Actions, names{}) == actionsText(other.Actions, names{})
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strings"
)

// GroupID numbers a group. OpenFlow 1.3 groups have no cookie, so ours are
// those of a range; an operator keeps out of it.
type GroupID uint32

// Our groups.
const (
	// GroupFlood gives a packet to or from a VIP to all members, each with its own
	// MAC, and to the other switches.
	GroupFlood GroupID = 88501
	// GroupMembers gives a frame to all members, fenced ones too, and other
	// switches as it is.
	GroupMembers GroupID = 88502

	firstGroup GroupID = 88500
	lastGroup  GroupID = 88599
)

// Ours tells whether the number is in onevip's range.
func (id GroupID) Ours() bool { return id >= firstGroup && id <= lastGroup }

// Group copies a packet to each of its buckets (type all).
type Group struct {
	ID      GroupID
	Buckets []Bucket
	// foreign is set for a group of another type, or with buckets that onevip
	// can't write: it is replaced if its number is ours.
	foreign bool
}

// Bucket is what happens with one copy.
type Bucket struct{ Actions []Action }

// String is the text of ovs-ofctl -O OpenFlow13 dump-groups, without the
// leading space.
func (g Group) String() string { return g.text(names{}) }

func (g Group) text(n names) string {
	var b strings.Builder
	fmt.Fprintf(&b, "group_id=%d,type=all", g.ID)
	for _, bucket := range g.Buckets {
		b.WriteString(",bucket=actions=" + actionsText(bucket.Actions, n))
	}
	return b.String()
}

// same tells whether both do the same.
func (g Group) same(other Group) bool {
	return !g.foreign && !other.foreign && g.String() == other.String()
}

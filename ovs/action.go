// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strings"

	of "github.com/contiv/libOpenflow/openflow13"
)

// Action is one step of a flow or of a group's bucket: Output, ToGroup,
// SetField, Move, or Opaque.
type Action interface{ text(names) string }

// Output sends the packet to a port. A port equal to the one the packet came
// in by is skipped; PortInPort sends it back there.
type Output struct{ Port uint32 }

func (a Output) text(n names) string { return n.output(a.Port, of.OFPCML_NO_BUFFER) }

// ToGroup hands the packet to a group.
type ToGroup struct{ Group GroupID }

func (a ToGroup) text(names) string { return fmt.Sprintf("group:%d", a.Group) }

// SetField overwrites a field.
type SetField struct{ Field Field }

func (a SetField) text(n names) string {
	name := fmt.Sprintf("oxm_%#x", uint32(a.Field.ID))
	if info, ok := a.Field.ID.info(); ok {
		name = info.set
	}
	return "set_field:" + a.Field.valueText(n) + "->" + name
}

// Move copies one field onto another of the same width (Nicira extension,
// NXAST_REG_MOVE).
type Move struct{ From, To FieldID }

func (a Move) text(names) string {
	return fmt.Sprintf("move:%s[]->%s[]", moveName(a.From), moveName(a.To))
}

func moveName(id FieldID) string {
	if info, ok := id.info(); ok {
		return info.nxm
	}
	return fmt.Sprintf("oxm_%#x", uint32(id))
}

// Opaque is an action of the switch that onevip never installs: its bytes,
// header included.
type Opaque struct{ Raw string }

func (a Opaque) text(names) string { return fmt.Sprintf("opaque:%x", a.Raw) }

func actionsText(actions []Action, n names) string {
	parts := make([]string, len(actions))
	for i, a := range actions {
		parts[i] = a.text(n)
	}
	return strings.Join(parts, ",")
}

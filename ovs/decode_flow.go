// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"bytes"

	of "github.com/contiv/libOpenflow/openflow13"
)

// counted is a flow with the packets that have met it.
type counted struct {
	Flow
	packets uint64
}

// decodeFlows reads the body of a flow stats reply (OpenFlow 1.3, section
// 7.3.5.2), what is left of it after the multipart header.
func decodeFlows(b []byte) ([]counted, error) {
	c := cursor{b: b}
	var flows []counted
	for !c.empty() {
		length := int(c.u16())
		entry := c.sub(length - 2)
		flow := decodeFlow(&entry)
		if c.bad = c.bad || entry.bad; !c.bad {
			flows = append(flows, flow)
		}
	}
	return flows, c.err("flow stats")
}

func decodeFlow(c *cursor) counted {
	var f counted
	f.Table = Table(c.u8())
	c.skip(1 + 4 + 4) // pad, duration
	f.Priority = c.u16()
	f.Idle, f.Hard = c.u16(), c.u16()
	c.skip(2 + 4) // flags, pad
	f.Cookie = Cookie(c.u64())
	f.packets = c.u64()
	c.skip(8) // bytes
	f.Match = decodeMatch(c)
	for !c.empty() {
		decodeInstruction(c, &f.Flow)
	}
	return f
}

// decodeMatch reads an ofp_match and its padding to 8 bytes.
func decodeMatch(c *cursor) Match {
	const oxmMatch = 1
	kind, length := c.u16(), int(c.u16())
	fields := c.sub(length - 4)
	c.skip(padding(length))
	if kind != oxmMatch {
		c.bad = true
	}
	var match Match
	for !fields.empty() {
		match = append(match, decodeField(&fields))
	}
	if fields.bad {
		c.bad = true
	}
	return newMatch(match...)
}

// padding is how many bytes follow to make a length a multiple of 8.
func padding(length int) int { return (8 - length%8) % 8 }

// decodeField reads an OXM TLV. A mask of all ones is no mask.
func decodeField(c *cursor) Field {
	header := c.u32()
	length, masked := int(header&0xff), header&(1<<8) != 0
	f := Field{ID: FieldID(header &^ 0x1ff).canonical()}
	if f.ID == onfTCPFlags && length > len(onf) && bytes.HasPrefix(c.b, []byte(onf)) {
		c.skip(len(onf))
		length -= len(onf)
		f.ID = FieldTCPFlags
	}
	if !masked {
		f.Value = string(c.take(length))
		return f
	}
	if length%2 != 0 {
		c.bad = true
	}
	f.Value, f.Mask = string(c.take(length/2)), string(c.take(length/2))
	if bits, ok := prefixLength(f.Mask); ok && bits == 8*len(f.Mask) {
		f.Mask = ""
	}
	return f
}

// In OpenFlow 1.3 a switch tells TCP flags as a field of the Open Networking
// Foundation (extension 109), whose number the value begins with.
const (
	onfTCPFlags FieldID = classExperimenter | 42<<9
	onf                 = "\x4f\x4e\x46\x00"
)

func decodeInstruction(c *cursor, f *Flow) {
	whole := c.b
	kind, length := c.u16(), int(c.u16())
	body := c.sub(length - 4)
	switch kind {
	case of.InstrType_GOTO_TABLE:
		f.Goto = Table(body.u8())
	case of.InstrType_APPLY_ACTIONS:
		body.skip(4)
		f.Actions = append(f.Actions, decodeActions(&body)...)
	default:
		if !c.bad {
			f.Rest += string(whole[:length])
		}
	}
	if body.bad {
		c.bad = true
	}
}

func decodeActions(c *cursor) []Action {
	var actions []Action
	for !c.empty() {
		whole := c.b
		kind, length := c.u16(), int(c.u16())
		body := c.sub(length - 4)
		if c.bad {
			return nil
		}
		action := decodeAction(kind, &body)
		if action == nil || body.bad {
			action = Opaque{Raw: string(whole[:length])}
		}
		actions = append(actions, action)
	}
	return actions
}

// decodeAction gives nil for an action that onevip does not know.
func decodeAction(kind uint16, c *cursor) Action {
	switch kind {
	case of.ActionType_Output:
		return Output{Port: c.u32()}
	case of.ActionType_Group:
		return ToGroup{Group: GroupID(c.u32())}
	case of.ActionType_SetField:
		if f := decodeField(c); f.Mask == "" && f.Value != "" {
			return SetField{f}
		}
	case of.ActionType_Experimenter:
		if c.u32() == of.NxExperimenterID && c.u16() == of.NXAST_REG_MOVE {
			return decodeMove(c)
		}
	}
	return nil
}

// decodeMove knows moves of whole fields only.
func decodeMove(c *cursor) Action {
	bits, fromOffset, toOffset := c.u16(), c.u16(), c.u16()
	from, to := FieldID(c.u32()&^0x1ff).canonical(), FieldID(c.u32()&^0x1ff).canonical()
	source, known := from.info()
	target, targetKnown := to.info()
	whole := known && targetKnown && source.width == target.width && int(bits) == 8*source.width
	if !whole || fromOffset != 0 || toOffset != 0 {
		return nil
	}
	return Move{From: from, To: to}
}

// decodeGroups reads the body of a group description reply (section 7.3.5.7).
func decodeGroups(b []byte) ([]Group, error) {
	c := cursor{b: b}
	var groups []Group
	for !c.empty() {
		length := int(c.u16())
		entry := c.sub(length - 2)
		group := decodeGroup(&entry)
		if c.bad = c.bad || entry.bad; !c.bad {
			groups = append(groups, group)
		}
	}
	return groups, c.err("group description")
}

func decodeGroup(c *cursor) Group {
	var g Group
	g.foreign = c.u8() != of.OFPGT_ALL
	c.skip(1)
	g.ID = GroupID(c.u32())
	for !c.empty() {
		length := int(c.u16())
		bucket := c.sub(length - 2)
		bucket.skip(2 + 4 + 4 + 4) // weight, watch port and group, pad
		g.Buckets = append(g.Buckets, Bucket{decodeActions(&bucket)})
		if bucket.bad {
			c.bad = true
		}
	}
	return g
}

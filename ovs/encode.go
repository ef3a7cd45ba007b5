// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/libOpenflow/util"
)

// maxMessage is the largest OpenFlow message: its length has 16 bits.
const maxMessage = 1<<16 - 1

// rawBytes puts bytes where libOpenflow wants a message.
type rawBytes string

func (r rawBytes) Len() uint16                    { return uint16(len(r)) }
func (r rawBytes) MarshalBinary() ([]byte, error) { return []byte(r), nil }

// UnmarshalBinary is there for libOpenflow's interface; we never decode with it.
func (r rawBytes) UnmarshalBinary([]byte) error { return errNoDecoding }

var errNoDecoding = fmt.Errorf("rawBytes are for encoding only")

// header is the field's OXM header, with a value of length bytes.
func (id FieldID) header(length int, masked bool) *of.MatchField {
	if masked {
		length *= 2
	}
	return &of.MatchField{
		Class:   uint16(id >> 16),
		Field:   uint8(id>>9) & 0x7f,
		HasMask: masked,
		Length:  uint8(length),
	}
}

func (f Field) encode() of.MatchField {
	field := f.ID.header(len(f.Value), f.Mask != "")
	field.Value = rawBytes(f.Value)
	if f.Mask != "" {
		field.Mask = rawBytes(f.Mask)
	}
	return *field
}

func (m Match) encode() of.Match {
	match := of.NewMatch()
	for _, f := range m {
		match.AddField(f.encode())
	}
	return *match
}

// encodeAction fails for an Opaque one: it was another's.
func encodeAction(action Action) (of.Action, error) {
	switch a := action.(type) {
	case Output:
		return encodeOutput(a.Port), nil
	case ToGroup:
		return of.NewActionGroup(uint32(a.Group)), nil
	case SetField:
		return of.NewActionSetField(a.Field.encode()), nil
	case Move:
		from, _ := a.From.info()
		to, _ := a.To.info()
		return of.NewNXActionRegMove(uint16(8*from.width), 0, 0,
			a.From.header(from.width, false), a.To.header(to.width, false)), nil
	}
	return nil, fmt.Errorf("encode action %s: onevip does not install such", action.text(names{}))
}

func encodeOutput(port uint32) of.Action {
	out := of.NewActionOutput(port)
	out.MaxLen = 0
	if port == PortController {
		out.MaxLen = of.OFPCML_NO_BUFFER
	}
	return out
}

func encodeActions(actions []Action) ([]of.Action, error) {
	encoded := make([]of.Action, len(actions))
	for i, a := range actions {
		var err error
		if encoded[i], err = encodeAction(a); err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

// flowMod encodes one change of a flow. Replacing is adding at the same place,
// which also replaces the cookie; a modification would keep the old one.
func flowMod(c Change, xid uint32) ([]byte, error) {
	mod := of.NewFlowMod()
	mod.Xid = xid
	mod.TableId = uint8(c.Flow.Table)
	mod.Priority = c.Flow.Priority
	mod.Match = c.Flow.Match.encode()
	if c.Op == RemoveFlow {
		mod.Command = of.FC_DELETE_STRICT
		mod.Cookie, mod.CookieMask = uint64(cookieMark), uint64(cookieMarkMask)
		return marshal(mod)
	}
	mod.Cookie = uint64(c.Flow.Cookie)
	if c.Op == touchFlow {
		mod.Command = of.FC_MODIFY_STRICT
		mod.Cookie, mod.CookieMask = uint64(cookieMark), uint64(cookieMarkMask)
	}
	actions, err := encodeActions(c.Flow.Actions)
	if err != nil {
		return nil, err
	}
	if len(actions) > 0 {
		apply := of.NewInstrApplyActions()
		apply.Actions = actions
		apply.Length = apply.Len()
		mod.AddInstruction(apply)
	}
	if c.Flow.Goto != 0 {
		mod.AddInstruction(of.NewInstrGotoTable(uint8(c.Flow.Goto)))
	}
	return marshal(mod)
}

// groupMod encodes one change of a group. A removal must not carry buckets:
// libOpenflow would write more bytes than it announces.
func groupMod(c Change, xid uint32) ([]byte, error) {
	mod := of.NewGroupMod()
	mod.Xid = xid
	mod.GroupId = uint32(c.Group.ID)
	switch c.Op {
	case RemoveGroup:
		mod.Command = of.OFPGC_DELETE
		return marshal(mod)
	case ReplaceGroup:
		mod.Command = of.OFPGC_MODIFY
	}
	for _, b := range c.Group.Buckets {
		actions, err := encodeActions(b.Actions)
		if err != nil {
			return nil, err
		}
		bucket := of.NewBucket()
		bucket.Actions = actions
		mod.AddBucket(*bucket)
	}
	return marshal(mod)
}

// encodeChange gives the flow or group message of a change.
func encodeChange(c Change, xid uint32) ([]byte, error) {
	if c.ofGroup() {
		return groupMod(c, xid)
	}
	return flowMod(c, xid)
}

// marshal encodes a message and checks that its length field is its length:
// libOpenflow counts in 16 bits and wraps.
func marshal(m util.Message) ([]byte, error) {
	b, err := m.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode OpenFlow message: %w", err)
	}
	if len(b) < headerLen || len(b) > maxMessage || int(b[2])<<8|int(b[3]) != len(b) {
		return nil, fmt.Errorf("encode OpenFlow message: %d bytes do not fit its length field", len(b))
	}
	return b, nil
}

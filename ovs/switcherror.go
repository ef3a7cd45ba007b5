// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"fmt"
	"strings"

	of "github.com/contiv/libOpenflow/openflow13"
)

// SwitchError is an error message of the switch (OpenFlow 1.3, section 7.4.4).
type SwitchError struct {
	// Type and Code as in the standard; for an experimenter's error Type is
	// 0xffff and Code is the experimenter's.
	Type, Code uint16
	// Doing is what the refused message was to do, in words.
	Doing string
	// Text is the switch's own explanation, if it gave one (hello failed).
	Text string
}

// errorID is type and code.
type errorID struct{ kind, code uint16 }

// The errors that callers meet, by OVS's names; others show as numbers.
var errorNames = map[errorID]string{
	{of.ET_HELLO_FAILED, of.HFC_INCOMPATIBLE}:      "OFPHFC_INCOMPATIBLE: no common OpenFlow version",
	{of.ET_BAD_REQUEST, of.BRC_BAD_TYPE}:           "OFPBRC_BAD_TYPE: unknown message",
	{of.ET_BAD_REQUEST, of.BRC_EPERM}:              "OFPBRC_EPERM: not permitted",
	{of.ET_BAD_REQUEST, of.BRC_BAD_LEN}:            "OFPBRC_BAD_LEN: wrong length",
	{of.ET_BAD_REQUEST, of.BRC_IS_SLAVE}:           "OFPBRC_IS_SLAVE: another controller is the master",
	{of.ET_BAD_REQUEST, of.BRC_BAD_PORT}:           "OFPBRC_BAD_PORT: no such port",
	{of.ET_BAD_REQUEST, of.BRC_BAD_TABLE_ID}:       "OFPBRC_BAD_TABLE_ID: no such table",
	{of.ET_BAD_ACTION, of.BAC_BAD_TYPE}:            "OFPBAC_BAD_TYPE: unknown action",
	{of.ET_BAD_ACTION, of.BAC_BAD_OUT_PORT}:        "OFPBAC_BAD_OUT_PORT: no such port",
	{of.ET_BAD_ACTION, of.BAC_BAD_ARGUMENT}:        "OFPBAC_BAD_ARGUMENT: bad argument",
	{of.ET_BAD_ACTION, of.BAC_BAD_OUT_GROUP}:       "OFPBAC_BAD_OUT_GROUP: no such group",
	{of.ET_FLOW_MOD_FAILED, 1}:                     "OFPFMFC_TABLE_FULL: the table is full",
	{of.ET_GROUP_MOD_FAILED, 0}:                    "OFPGMFC_GROUP_EXISTS: the group exists",
	{of.ET_GROUP_MOD_FAILED, 1}:                    "OFPGMFC_INVALID_GROUP: bad group",
	{of.ET_GROUP_MOD_FAILED, 8}:                    "OFPGMFC_UNKNOWN_GROUP: no such group",
	{of.ET_ROLE_REQUEST_FAILED, roleStale}:         "OFPRRFC_STALE: generation id is old",
	{of.ET_EXPERIMENTER, of.BEC_MSG_FAILD}:         "OFPBFC_MSG_FAILED: a message of the bundle failed",
	{of.ET_EXPERIMENTER, of.BEC_BAD_ID}:            "OFPBFC_BAD_ID: no such bundle",
	{of.ET_EXPERIMENTER, of.BEC_TIMEOUT}:           "OFPBFC_TIMEOUT: the bundle took too long",
	{of.ET_EXPERIMENTER, of.BEC_BUNDLE_EXIST}:      "OFPBFC_BUNDLE_EXIST: the bundle exists",
	{of.ET_EXPERIMENTER, of.BEC_OUT_OF_BUNDLE}:     "OFPBFC_OUT_OF_BUNDLES: too many bundles",
	{of.ET_EXPERIMENTER, of.BEC_MSG_CONFLICT}:      "OFPBFC_MSG_CONFLICT: messages of the bundle contradict each other",
	{of.ET_EXPERIMENTER, of.BEC_MSG_UNSUP}:         "OFPBFC_MSG_UNSUP: not possible in a bundle",
	{of.ET_EXPERIMENTER, of.BEC_MSG_BAD_XID}:       "OFPBFC_MSG_BAD_XID: inner and outer xid differ",
	{of.ET_EXPERIMENTER, of.BEC_BUNDLE_CLOSED}:     "OFPBFC_BUNDLE_CLOSED: the bundle is closed",
	{of.ET_EXPERIMENTER, of.BEC_BAD_FLAGS}:         "OFPBFC_BAD_FLAGS: bad flags",
	{of.ET_EXPERIMENTER, of.BEC_UNKNOWN}:           "OFPBFC_UNKNOWN: unknown bundle error",
	{of.ET_EXPERIMENTER, of.BEC_BUNDLE_IN_PROCESS}: "OFPBFC_BUNDLE_IN_PROGRESS: another bundle is in progress",
}

const roleStale = 0 // OFPRRFC_STALE

// Error says what was refused, and why.
func (e *SwitchError) Error() string {
	name, ok := errorNames[errorID{e.Type, e.Code}]
	if !ok {
		name = fmt.Sprintf("OpenFlow error type %d code %d", e.Type, e.Code)
	}
	var b strings.Builder
	b.WriteString("switch refuses")
	if e.Doing != "" {
		b.WriteString(" to " + e.Doing)
	}
	b.WriteString(": " + name)
	if e.Text != "" {
		fmt.Fprintf(&b, " (%q)", e.Text)
	}
	return b.String()
}

// Is makes refusals for want of the master role ErrNotMaster, and for an old
// generation id ErrStaleTerm.
func (e *SwitchError) Is(target error) bool {
	switch target {
	case ErrNotMaster:
		return e.Type == of.ET_BAD_REQUEST && e.Code == of.BRC_IS_SLAVE
	case ErrStaleTerm:
		return e.Type == of.ET_ROLE_REQUEST_FAILED && e.Code == roleStale
	}
	return false
}

// decodeError reads the body of an error message. An experimenter's error has
// its code where others have theirs, and then the experimenter's id.
func decodeError(b []byte) (*SwitchError, error) {
	c := cursor{b: b}
	e := &SwitchError{Type: c.u16(), Code: c.u16()}
	if e.Type == of.ET_HELLO_FAILED {
		e.Text = printable(c.b)
	}
	return e, c.err("error message")
}

// printable keeps at most 200 bytes of ASCII.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b[:min(len(b), 200)]))
}

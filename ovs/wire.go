// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	of "github.com/contiv/libOpenflow/openflow13"
)

// errShort is a message that ends before its fields do, or whose inner lengths
// contradict each other.
var errShort = errors.New("malformed OpenFlow message")

const headerLen = 8

// newestVersion is far beyond OpenFlow 1.5 (6); it tells HTTP and TLS apart.
const newestVersion = 15

// message is one OpenFlow message as it came: the header, and the bytes behind.
type message struct {
	version, kind uint8
	xid           uint32
	body          []byte
}

// readMessage reads exactly one message. It allocates at most what the 16-bit
// length says, and refuses what can't be OpenFlow before it waits for more.
func readMessage(r io.Reader) (message, error) {
	var header [headerLen]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return message{}, err
	}
	m := message{version: header[0], kind: header[1], xid: binary.BigEndian.Uint32(header[4:])}
	if m.version == 0 || m.version > newestVersion {
		return message{}, fmt.Errorf("%w: version %d is none of OpenFlow", errShort, m.version)
	}
	length := int(binary.BigEndian.Uint16(header[2:]))
	if length < headerLen {
		return message{}, fmt.Errorf("%w: length %d is less than a header", errShort, length)
	}
	m.body = make([]byte, length-headerLen)
	_, err := io.ReadFull(r, m.body)
	return m, err
}

// cursor takes fields from the front of bytes, big-endian. Once the bytes do
// not suffice it is bad for good, and gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

// take gives the next n bytes, or nil.
func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	taken := c.b[:n:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) skip(n int) { c.take(n) }

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sub gives a cursor over the next n bytes.
func (c *cursor) sub(n int) cursor {
	b := c.take(n)
	return cursor{b: b, bad: c.bad}
}

func (c *cursor) empty() bool { return c.bad || len(c.b) == 0 }

// err is errShort with what was read, or nil.
func (c *cursor) err(what string) error {
	if c.bad {
		return fmt.Errorf("%w: %s", errShort, what)
	}
	return nil
}

// messageNames are for errors: the messages that onevip reads.
var messageNames = map[uint8]string{
	of.Type_Hello: "hello", of.Type_Error: "error", of.Type_EchoRequest: "echo request",
	of.Type_EchoReply: "echo reply", of.Type_Experimenter: "experimenter",
	of.Type_FeaturesReply: "features reply", of.Type_PacketIn: "packet-in",
	of.Type_PortStatus: "port status", of.Type_MultiPartReply: "multipart reply",
	of.Type_BarrierReply: "barrier reply", of.Type_RoleReply: "role reply",
}

func (m message) String() string {
	if name, ok := messageNames[m.kind]; ok {
		return name
	}
	return fmt.Sprintf("message of type %d", m.kind)
}

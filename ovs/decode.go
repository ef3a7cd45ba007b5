// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"bytes"

	of "github.com/contiv/libOpenflow/openflow13"

	"github.com/onevip/onevip/topology"
)

// speaks13 tells from a hello whether the peer can speak OpenFlow 1.3: by the
// version bitmap if there is one, else by the highest version (section 6.3.1).
// Unknown elements are skipped.
func speaks13(m message) bool {
	const versionBitmap = 1
	c := cursor{b: m.body}
	for !c.bad && len(c.b) >= 4 {
		kind, length := c.u16(), int(c.u16())
		element := c.sub(length - 4)
		c.skip(min(padding(length), len(c.b)))
		if kind == versionBitmap && !c.bad {
			return element.u32()&(1<<of.VERSION) != 0
		}
	}
	return m.version >= of.VERSION
}

// features is what a switch says of itself (section 7.3.1).
type features struct {
	datapath DatapathID
	tables   uint8
}

func decodeFeatures(b []byte) (features, error) {
	c := cursor{b: b}
	f := features{datapath: DatapathID(c.u64())}
	c.skip(4) // buffers
	f.tables = c.u8()
	return f, c.err("features")
}

const portLen = 64

// decodePorts reads the body of a port description reply (section 7.3.5.8).
func decodePorts(b []byte) ([]Port, error) {
	c := cursor{b: b}
	var ports []Port
	for !c.empty() {
		entry := c.sub(portLen)
		port := decodePort(&entry)
		if !c.bad {
			ports = append(ports, port)
		}
	}
	return ports, c.err("port description")
}

// decodePort reads an ofp_port (section 7.2.1).
func decodePort(c *cursor) Port {
	const configDown, stateLinkDown = 1 << 0, 1 << 0
	var p Port
	p.Number = c.u32()
	c.skip(4)
	mac := c.take(6)
	c.skip(2)
	name := c.take(16)
	config, state := c.u32(), c.u32()
	if c.bad {
		return Port{}
	}
	p.MAC = topology.MAC(mac)
	name, _, _ = bytes.Cut(name, []byte{0})
	p.Name = string(name)
	p.Up = config&configDown == 0 && state&stateLinkDown == 0
	return p
}

// portStatus is a change of one port (section 7.4.3).
type portStatus struct {
	gone bool
	port Port
}

func decodePortStatus(b []byte) (portStatus, error) {
	const reasonDelete = 1
	c := cursor{b: b}
	s := portStatus{gone: c.u8() == reasonDelete}
	c.skip(7)
	s.port = decodePort(&c)
	return s, c.err("port status")
}

// decodePacketIn reads a packet-in (section 7.4.1).
func decodePacketIn(b []byte) (PacketIn, error) {
	c := cursor{b: b}
	c.skip(4 + 2 + 1 + 1) // buffer, total length, reason, table
	in := PacketIn{Cookie: Cookie(c.u64())}
	match := decodeMatch(&c)
	c.skip(2)
	if port, ok := match.field(FieldInPort); ok {
		in.InPort = uint32(port.number())
	}
	in.Frame = c.b
	return in, c.err("packet-in")
}

// multipart is the header of a multipart reply (section 7.3.5).
type multipart struct {
	kind uint16
	more bool
	body []byte
}

func decodeMultipart(b []byte) (multipart, error) {
	c := cursor{b: b}
	m := multipart{kind: c.u16(), more: c.u16()&of.OFPMPF_REPLY_MORE != 0}
	c.skip(4)
	m.body = c.b
	return m, c.err("multipart reply")
}

// bundleReply is an ONF bundle control message (extension 230).
type bundleReply struct {
	id   uint32
	kind uint16
}

// decodeBundleReply is false for another experimenter message.
func decodeBundleReply(b []byte) (bundleReply, bool) {
	c := cursor{b: b}
	vendor, kind := c.u32(), c.u32()
	r := bundleReply{id: c.u32(), kind: c.u16()}
	return r, !c.bad && vendor == of.ONF_EXPERIMENTER_ID && kind == of.Type_BundleCtrl
}

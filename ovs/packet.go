// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// PacketIn is a packet that a flow sent to the controller.
type PacketIn struct {
	InPort uint32
	Cookie Cookie // the flow's
	Frame  []byte // from the Ethernet header on
}

// Send puts a frame out of the ports given. The switch tells nobody when a port
// is gone by then; see Counts.
func (s *Session) Send(ctx context.Context, frame []byte, ports ...uint32) error {
	if _, err := s.claimed(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := packetOut(frame, ports)
	if err != nil {
		return err
	}
	return s.write(b)
}

func packetOut(frame []byte, ports []uint32) ([]byte, error) {
	const fixed, perPort = 24, 16
	if size := fixed + perPort*len(ports) + len(frame); size > maxMessage {
		return nil, fmt.Errorf("send frame: %d bytes to %d ports exceed a message", len(frame), len(ports))
	}
	out := of.NewPacketOut()
	out.Xid = 0 // errors are nobody's
	out.InPort = of.P_CONTROLLER
	for _, port := range ports {
		out.AddAction(encodeOutput(port))
	}
	out.Data = rawBytes(frame)
	return marshal(out)
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

// echo makes an echo request, or the reply to one: with the same xid and data.
func echo(kind uint8, xid uint32, data []byte) []byte { return rawMessage(kind, xid, data) }

// echoLoop keeps the switch talking, so that the read deadline means something.
func (s *Session) echoLoop() {
	tick := time.NewTicker(s.opts.Echo)
	defer tick.Stop()
	for {
		select {
		case <-s.Done():
			return
		case <-tick.C:
		}
		if s.write(echo(of.Type_EchoRequest, 0, nil)) != nil {
			return
		}
	}
}

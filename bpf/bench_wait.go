// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/onevip/onevip/topology"
)

// waitRound has n SYNs wait at a secondary, and then their primary's answers go by.
// It gives the cost of each.
func (b *benchmark) waitRound(first, n int) (out [2]sample, err error) {
	err = errors.Join(b.setRoles(benchSelf+1, benchSelf), b.f.SetSpeculation(Speculation{Delay: time.Second}))
	if err != nil {
		return out, err
	}
	defer func() {
		err = errors.Join(err, b.setPrimary(benchSelf), b.f.SetSpeculation(Speculation{Off: true}))
	}()
	var syns, answers [][]byte
	for i := range n {
		f := nthFlow(0, first+i).newcomer()
		if syns, err = appendFrame(syns, f.syn); err != nil {
			return out, err
		}
		if answers, err = appendFrame(answers, func() ([]byte, error) { return f.synAck(benchSelf + 1) }); err != nil {
			return out, err
		}
	}
	// Where another waits in its place, the SYN is answered.
	if out[0], err = b.compare(syns, nil, ReasonAwaiting, ReasonAnsweredUntimed); err != nil {
		return out, err
	}
	out[1], err = b.compare(answers, nil, ReasonMirrored)
	return out, err
}

// synAck is a SYN/ACK to the client that names owner, from another node.
func (b benchFlow) synAck(owner topology.NodeID) ([]byte, error) {
	b.client, b.vip = b.vip, b.client
	return b.frame(layers.TCP{Seq: uint32(owner) << 24, Ack: b.seq, SYN: true, ACK: true, Window: 64240}, nil)
}

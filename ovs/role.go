// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"encoding/binary"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// roleMaster is OFPCR_ROLE_MASTER (OpenFlow 1.3, section 7.3.9).
const roleMaster = 2

// Claim makes this session the master of the switch, for the leader of a term.
// The switch makes the master so far a slave, which can no longer write. It
// refuses a term older than one it has seen: ErrStaleTerm. A session that is
// not claimed neither applies nor sends anything.
func (s *Session) Claim(ctx context.Context, term uint64) error {
	err := s.do(ctx, "take us for its master", func(xid uint32) ([]byte, error) {
		body := binary.BigEndian.AppendUint32(nil, roleMaster)
		body = append(body, 0, 0, 0, 0)
		return rawMessage(of.Type_RoleRequest, xid, binary.BigEndian.AppendUint64(body, term)), nil
	}, expect(of.Type_RoleReply, func(body []byte) error {
		c := cursor{b: body}
		if role := c.u32(); !c.bad && role != roleMaster {
			return fmt.Errorf("switch gives us role %d, asked for %d", role, roleMaster)
		}
		return c.err("role reply")
	}))
	if err != nil {
		return err
	}
	s.setMaster(true, uint16(term))
	return nil
}

func (s *Session) setMaster(master bool, round uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.master, s.round = master, round
}

// claimed gives the round of the term claimed.
func (s *Session) claimed() (round uint16, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.master {
		return 0, ErrNotMaster
	}
	return s.round, nil
}

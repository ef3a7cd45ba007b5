// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"fmt"

	of "github.com/contiv/libOpenflow/openflow13"
)

// maxStats bounds what a switch may tell in answer to one question, in bytes:
// some 200 000 flows.
const maxStats = 32 << 20

// multipart asks a question and gives each part of the answer to read.
func (s *Session) multipart(ctx context.Context, doing string, kind uint16, question rawBytes,
	read func(body []byte) error) error {
	total := 0
	return s.do(ctx, doing, func(xid uint32) ([]byte, error) {
		request := &of.MultipartRequest{Header: of.NewOfp13Header(), Type: kind, Body: question}
		request.Header.Type = of.Type_MultiPartRequest
		request.Xid = xid
		return marshal(request)
	}, func(m message) (bool, error) {
		if m.kind != of.Type_MultiPartReply {
			return true, fmt.Errorf("%w: unexpected %v", errShort, m)
		}
		part, err := decodeMultipart(m.body)
		if err != nil {
			return true, err
		}
		if part.kind != kind {
			return true, fmt.Errorf("%w: multipart reply of type %d, asked for %d", errShort, part.kind, kind)
		}
		if total += len(part.body); total > maxStats {
			return true, fmt.Errorf("the switch tells more than %d bytes when asked to %s", maxStats, doing)
		}
		return !part.more, read(part.body)
	})
}

// Installed reads all flows and groups of the switch, an operator's too.
func (s *Session) Installed(ctx context.Context) (Pipeline, error) {
	var installed Pipeline
	err := s.flowStats(ctx, 0, 0, func(f counted) { installed.Flows = append(installed.Flows, f.Flow) })
	if err != nil {
		return Pipeline{}, err
	}
	err = s.multipart(ctx, "tell its groups", of.MultipartType_GroupDesc, "", func(body []byte) error {
		groups, err := decodeGroups(body)
		installed.Groups = append(installed.Groups, groups...)
		return err
	})
	if err != nil {
		return Pipeline{}, err
	}
	installed.sort()
	return installed, nil
}

// Drops tells how many packets our flows have dropped, by reason, since each of
// them was installed. The datapath's counts come with a delay of up to a second.
func (s *Session) Drops(ctx context.Context) (map[Kind]uint64, error) {
	drops := make(map[Kind]uint64)
	err := s.flowStats(ctx, cookieMark, cookieMarkMask, func(f counted) {
		if kind := f.Cookie.Kind(); kind.Drops() {
			drops[kind] += f.packets
		}
	})
	return drops, err
}

// flowStats reads the flows whose cookie, masked, is the one given.
func (s *Session) flowStats(ctx context.Context, cookie, mask Cookie, each func(counted)) error {
	request := of.NewFlowStatsRequest()
	request.TableId = of.OFPTT_ALL
	request.Cookie, request.CookieMask = uint64(cookie), uint64(mask)
	question, err := request.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode flow stats request: %w", err)
	}
	return s.multipart(ctx, "tell its flows", of.MultipartType_Flow, rawBytes(question), func(body []byte) error {
		flows, err := decodeFlows(body)
		for _, f := range flows {
			each(f)
		}
		return err
	})
}

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
	request := of.NewFlowStatsRequest()
	request.TableId = of.OFPTT_ALL
	question, err := request.MarshalBinary()
	if err != nil {
		return Pipeline{}, fmt.Errorf("encode flow stats request: %w", err)
	}
	err = s.multipart(ctx, "tell its flows", of.MultipartType_Flow, rawBytes(question), func(body []byte) error {
		flows, err := decodeFlows(body)
		installed.Flows = append(installed.Flows, flows...)
		return err
	})
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

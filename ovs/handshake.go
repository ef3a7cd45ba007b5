// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/contiv/libOpenflow/common"
	of "github.com/contiv/libOpenflow/openflow13"
)

// ErrVersion is why a switch was refused that does not speak OpenFlow 1.3.
var ErrVersion = errors.New("the switch does not speak OpenFlow 1.3; " +
	"allow it: ovs-vsctl set bridge BRIDGE protocols=OpenFlow13")

// handshake makes a session of a connection, or closes it. The loops of the
// session run when it returns.
func handshake(ctx context.Context, conn net.Conn, opts ListenOptions) (*Session, error) {
	s := newSession(conn, opts)
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Dead,
		fmt.Errorf("%w: no handshake within %v", ErrSilent, opts.Dead))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.fail(context.Cause(ctx)) })
	defer stop()

	if err := s.hello(); err != nil {
		_ = s.fail(err)
		return nil, s.Err() // the first reason
	}
	s.loops.Go(s.readLoop)
	s.loops.Go(s.echoLoop)
	if err := s.introduce(ctx); err != nil {
		_ = s.fail(err)
		s.loops.Wait()
		return nil, s.Err()
	}
	return s, nil
}

// hello agrees on OpenFlow 1.3 or tells the peer why not (section 6.3.1).
func (s *Session) hello() error {
	ours, err := common.NewHello(of.VERSION)
	if err != nil {
		return err
	}
	bitmap := common.NewHelloElemVersionBitmap()
	bitmap.Bitmaps = []uint32{1 << of.VERSION} // libOpenflow would offer 1.0 too
	ours.Elements = []common.HelloElem{bitmap}
	b, err := marshal(ours)
	if err != nil {
		return err
	}
	if err := s.write(b); err != nil {
		return err
	}
	theirs, err := s.read()
	if err != nil {
		return fmt.Errorf("wait for hello: %w", err)
	}
	return s.judgeHello(theirs)
}

func (s *Session) judgeHello(m message) error {
	switch m.kind {
	case of.Type_Hello:
	case of.Type_Error:
		refusal, err := decodeError(m.body)
		if err != nil {
			return err
		}
		refusal.Doing = "talk OpenFlow 1.3"
		return refusal
	default:
		return fmt.Errorf("%w: %v instead of hello", errShort, m)
	}
	if speaks13(m) {
		return nil
	}
	body := append([]byte{0, of.ET_HELLO_FAILED, 0, of.HFC_INCOMPATIBLE}, "onevip speaks OpenFlow 1.3 only"...)
	if err := s.write(rawMessage(of.Type_Error, m.xid, body)); err != nil {
		return err
	}
	return fmt.Errorf("%w (it speaks version %d)", ErrVersion, m.version)
}

// introduce asks who the switch is and which ports it has.
func (s *Session) introduce(ctx context.Context) error {
	err := s.do(ctx, "tell its features", func(xid uint32) ([]byte, error) {
		return rawMessage(of.Type_FeaturesRequest, xid, nil), nil
	}, expect(of.Type_FeaturesReply, func(body []byte) error {
		f, err := decodeFeatures(body)
		s.datapath = f.datapath
		if err == nil && int(f.tables) < tableCount {
			err = fmt.Errorf("the switch has %d tables, onevip needs %d", f.tables, tableCount)
		}
		return err
	}))
	if err != nil {
		return err
	}
	return s.multipart(ctx, "tell its ports", of.MultipartType_PortDesc, "", func(body []byte) error {
		ports, err := decodePorts(body)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range ports {
			s.ports[p.Number] = p
		}
		return err
	})
}

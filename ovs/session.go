// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

var (
	// ErrClosed is why a session ended that was closed at this end.
	ErrClosed = errors.New("the session was closed")
	// ErrSilent is why a session ended whose peer was silent for
	// ListenOptions.Dead.
	ErrSilent = errors.New("the switch is silent")
	// ErrHungUp is why a session ended that the switch closed: its controller
	// target was changed, or it was stopped.
	ErrHungUp = errors.New("the switch closed the connection")
	// ErrStaleTerm is returned by Session.Claim if the switch knows a newer
	// leader.
	ErrStaleTerm = errors.New("the switch knows a newer leader")
	// ErrNotMaster is returned by Session.Apply and Session.Send if this session
	// has not claimed the switch, or another controller has claimed it since.
	ErrNotMaster = errors.New("not the master of the switch")
)

// packetInQueue is how many packets wait for a reader of PacketIns.
const packetInQueue = 256

// Session is one OpenFlow 1.3 connection of a switch. Its methods may be called
// concurrently.
type Session struct {
	conn     net.Conn
	opts     ListenOptions
	datapath DatapathID

	ended   context.Context // cancelled with the reason
	end     context.CancelCauseFunc
	packets chan PacketIn // never blocks the read loop
	changed chan struct{} // holds at most one value

	writing sync.Mutex // guards writes to conn, whole messages
	applied sync.Mutex // held by Apply: one bundle at a time

	mu      sync.Mutex // guards what follows
	ports   map[uint32]Port
	calls   map[uint32]*call // by xid
	lastXid uint32
	bundles uint32 // the last bundle's id
	master  bool   // claimed, and the switch has not said otherwise
	round   uint16 // of the term claimed

	dropped atomic.Uint64
	refused atomic.Uint64

	loops sync.WaitGroup // readLoop and echoLoop
}

func newSession(conn net.Conn, opts ListenOptions) *Session {
	ended, end := context.WithCancelCause(context.Background())
	return &Session{
		conn: conn, opts: opts, ended: ended, end: end,
		packets: make(chan PacketIn, packetInQueue),
		changed: make(chan struct{}, 1),
		ports:   make(map[uint32]Port),
		calls:   make(map[uint32]*call),
	}
}

// DatapathID names the switch: DatapathIDOf, if EnsureBridge has set it up.
func (s *Session) DatapathID() DatapathID { return s.datapath }

// RemoteAddr is the switch's address.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Done is closed when the session has ended; Err then tells why.
func (s *Session) Done() <-chan struct{} { return s.ended.Done() }

// Err tells why the session ended: ErrClosed, ErrSilent,
// ErrHungUp, or what the network or the protocol did. It is nil while the
// session lives.
func (s *Session) Err() error { return context.Cause(s.ended) }

// Close ends the session. The switch keeps its flows, and connects again.
func (s *Session) Close() error { return s.fail(ErrClosed) }

// fail ends the session for a reason; the first one stays.
func (s *Session) fail(reason error) error {
	s.end(reason)
	return s.conn.Close()
}

// Ports are the switch's ports now, sorted by number.
func (s *Session) Ports() []Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.ports), func(a, b Port) int { return cmp.Compare(a.Number, b.Number) })
}

// PortsChanged has a value after a change of Ports. Changes that follow each
// other closely come as one.
func (s *Session) PortsChanged() <-chan struct{} { return s.changed }

// PacketIns delivers the packets that flows send to the controller. A slow
// reader loses packets (Counts), never anything else.
func (s *Session) PacketIns() <-chan PacketIn { return s.packets }

// Counts are totals of a session.
type Counts struct {
	// PacketInsDropped were lost because nobody read them fast enough.
	PacketInsDropped uint64
	// Refused are the switch's errors about messages that nobody waited for,
	// such as a packet-out to a port that is gone.
	Refused uint64
}

// Counts of this session so far.
func (s *Session) Counts() Counts {
	return Counts{PacketInsDropped: s.dropped.Load(), Refused: s.refused.Load()}
}

// readLoop dispatches messages until the session ends. A peer that does not
// even answer echo requests runs into the read deadline.
func (s *Session) readLoop() {
	for {
		m, err := s.read()
		if err == nil {
			err = s.dispatch(m)
		}
		if err != nil {
			_ = s.fail(err) // the reason is kept, the conn's own error is no news
			return
		}
	}
}

func (s *Session) read() (message, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.opts.Dead)); err != nil {
		return message{}, err
	}
	m, err := readMessage(s.conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return m, fmt.Errorf("%w: nothing heard for %v", ErrSilent, s.opts.Dead)
	}
	for _, hangUp := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET} {
		if errors.Is(err, hangUp) {
			return m, ErrHungUp
		}
	}
	return m, err
}

func (s *Session) dispatch(m message) error {
	if m.version != of.VERSION {
		return fmt.Errorf("%w: OpenFlow version %d in the middle of a 1.3 session", errShort, m.version)
	}
	switch m.kind {
	case of.Type_EchoRequest:
		return s.write(echo(of.Type_EchoReply, m.xid, m.body))
	case of.Type_PortStatus:
		return s.portStatus(m.body)
	case of.Type_PacketIn:
		return s.packetIn(m.body)
	}
	return s.answer(m)
}

func (s *Session) packetIn(body []byte) error {
	in, err := decodePacketIn(body)
	if err != nil {
		return err
	}
	select {
	case s.packets <- in:
	default:
		s.dropped.Add(1)
	}
	return nil
}

func (s *Session) portStatus(body []byte) error {
	status, err := decodePortStatus(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if status.gone {
		delete(s.ports, status.port.Number)
	} else {
		s.ports[status.port.Number] = status.port
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // the reader has not yet seen the last one
	}
	return nil
}

// write sends whole messages, and gives the peer up if it does not take them.
func (s *Session) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.conn.SetWriteDeadline(time.Now().Add(s.opts.Dead))
	if err == nil {
		_, err = s.conn.Write(b)
	}
	if err == nil {
		return nil
	}
	_ = s.fail(fmt.Errorf("write to the switch: %w", err))
	return s.Err()
}

// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/onevip/onevip/topology"
)

var errDraft = errors.New("not built yet")

// Flow is one flow entry.
type Flow struct{}

// String gives the text of ovs-ofctl -O OpenFlow13 dump-flows --no-stats.
func (f Flow) String() string { return "" }

// Group is one group entry.
type Group struct{}

// String gives the text of ovs-ofctl -O OpenFlow13 dump-groups.
func (g Group) String() string { return "" }

// Pipeline is the content of a switch, as far as it is ours: a value.
type Pipeline struct {
	Flows  []Flow
	Groups []Group
}

// Build says with which flows and groups a bridge with these ports does what is
// intended. It is pure.
func Build(intent Intent, ports []Port) Pipeline { return Pipeline{} }

// Change is one step from one pipeline to another.
type Change struct{}

// Diff lists the steps from installed to wanted, in the order in which a bundle
// must apply them. Flows with foreign cookies are left alone. It is pure.
func Diff(installed, wanted Pipeline) []Change { return nil }

var (
	// ErrStaleTerm is returned by Session.Claim if the switch knows a newer
	// leader.
	ErrStaleTerm = errors.New("the switch knows a newer leader")
	// ErrNotMaster is returned by Session.Apply and Send if this session has not
	// claimed the switch, or another controller has claimed it since.
	ErrNotMaster = errors.New("not the master of the switch")
)

// ListenOptions are the times and bounds of OpenFlow sessions. The zero value
// takes the defaults.
type ListenOptions struct {
	// Echo is the silence after which an echo request is sent: 2s.
	Echo time.Duration
	// Dead is the silence after which the peer is given up: 6s.
	Dead time.Duration
	// Log gets refused connections. Default: none.
	Log *slog.Logger
}

// Listener accepts the OpenFlow connections of switches.
type Listener struct{}

// Listen waits for switches at a TCP address such as ":6653", until ctx ends.
func Listen(ctx context.Context, addr string, opts ListenOptions) (*Listener, error) {
	return nil, errDraft
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return nil }

// Accept gives the next switch that finished its handshake. A switch that
// connects again gives a new Session.
func (l *Listener) Accept(ctx context.Context) (*Session, error) { return nil, errDraft }

// Close stops listening and ends all sessions.
func (l *Listener) Close() error { return errDraft }

// Session is one OpenFlow 1.3 connection of a switch. Methods may be called
// concurrently.
type Session struct{}

// DatapathID names a switch; see DatapathIDOf.
type DatapathID uint64

// DatapathIDOf is the datapath id that EnsureBridge gives to a switch.
func DatapathIDOf(cluster string, sw topology.SwitchName) DatapathID { return 0 }

// DatapathID is the switch's.
func (s *Session) DatapathID() DatapathID { return 0 }

// RemoteAddr is the switch's address.
func (s *Session) RemoteAddr() net.Addr { return nil }

// Done is closed when the session ended; Err then tells why.
func (s *Session) Done() <-chan struct{} { return nil }

// Err is nil while the session lives.
func (s *Session) Err() error { return nil }

// Close ends the session.
func (s *Session) Close() error { return errDraft }

// Ports are the switch's ports now, sorted by number.
func (s *Session) Ports() []Port { return nil }

// PortsChanged has a value after each change of Ports. Changes that follow each
// other closely come as one.
func (s *Session) PortsChanged() <-chan struct{} { return nil }

// Claim makes this session the master of the switch, for the leader of a term.
// A session with an older term loses the right to write; ErrStaleTerm if the
// switch has seen a newer one.
func (s *Session) Claim(ctx context.Context, term uint64) error { return errDraft }

// Applied counts what an Apply did.
type Applied struct {
	Kept, Added, Replaced, Removed                         int // flows
	GroupsKept, GroupsAdded, GroupsReplaced, GroupsRemoved int
	// Conflicts are wanted flows whose place an operator's flow holds. They were
	// not installed.
	Conflicts []Flow
}

// Apply reads what is installed and applies the difference as one atomic,
// ordered bundle; if there is none, nothing is sent. An empty Pipeline removes
// all that is ours.
func (s *Session) Apply(ctx context.Context, wanted Pipeline) (Applied, error) {
	return Applied{}, errDraft
}

// Installed reads all flows and groups, an operator's too.
func (s *Session) Installed(ctx context.Context) (Pipeline, error) { return Pipeline{}, errDraft }

// PacketIn is a packet that a flow sent to the controller.
type PacketIn struct {
	InPort uint32
	Frame  []byte
}

// PacketIns delivers packets. A slow reader loses packets, never messages.
func (s *Session) PacketIns() <-chan PacketIn { return nil }

// Send puts a frame out of the ports given.
func (s *Session) Send(ctx context.Context, frame []byte, ports ...uint32) error { return errDraft }

// Speaker speaks ARP and ND for the VIPs at one switch: it announces them
// (gratuitous ARP, unsolicited NA) and answers neighbour solicitations.
type Speaker struct{}

// NewSpeaker makes a speaker that announces at once and each interval, to all
// ports but those of members and trunks.
func NewSpeaker(session *Session, interval time.Duration) *Speaker { return nil }

// Set replaces what the speaker speaks for; it announces at once what changed.
func (s *Speaker) Set(intent Intent) {}

// Run speaks until ctx or the session ends, and returns why.
func (s *Speaker) Run(ctx context.Context) error { return errDraft }

// BridgeOptions say how to set a bridge up.
type BridgeOptions struct {
	// Cluster is the cluster's name; with the switch's it makes the datapath id.
	Cluster string
	// Ports are added if they are missing.
	Ports []string
}

// EnsureBridge makes the bridge of a switch what the controller needs:
// idempotent, and nothing of the operator's is removed.
func EnsureBridge(ctx context.Context, sw topology.Switch, opts BridgeOptions) error {
	return errDraft
}

// InstalledPorts lists the ports of the bridge.
func InstalledPorts(ctx context.Context, sw topology.Switch) ([]string, error) { return nil, errDraft }

// RemoveConfig takes back what was installed: flows with our cookies, groups,
// the controller target. The bridge and its ports stay.
func RemoveConfig(ctx context.Context, sw topology.Switch, opts BridgeOptions) error { return errDraft }

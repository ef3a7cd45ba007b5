// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"time"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/topology"
)

// fabric is what the controller needs of package ovs.
type fabric interface {
	// ensure sets a bridge up, with these ports.
	ensure(ctx context.Context, cluster string, sw topology.Switch, ports []string) error
	listen(ctx context.Context, addr string) (listener, error)
}

// listener is where switches connect to.
type listener interface {
	accept(ctx context.Context) (session, error)
	Close() error // ends all sessions and waits for them
}

// session is one connected switch; see ovs.Session.
type session interface {
	DatapathID() ovs.DatapathID
	Claim(ctx context.Context, term uint64) error
	Apply(ctx context.Context, wanted ovs.Pipeline) (ovs.Applied, error)
	// Settle returns when packets surely go by what was applied.
	Settle(ctx context.Context, ovsdb string, wait time.Duration) error
	Ports() []ovs.Port
	PortsChanged() <-chan struct{}
	Done() <-chan struct{}
	Err() error
	Close() error
	speaker(every time.Duration) speaker
}

// speaker speaks for the VIPs at one switch; see ovs.Speaker.
type speaker interface {
	Set(intent ovs.Intent)
	Run(ctx context.Context) error
}

// openVSwitch is the real fabric.
type openVSwitch struct{ log *slog.Logger }

func (openVSwitch) ensure(ctx context.Context, cluster string, sw topology.Switch, ports []string) error {
	return ovs.EnsureBridge(ctx, sw, ovs.BridgeOptions{Cluster: cluster, Ports: ports})
}

func (o openVSwitch) listen(ctx context.Context, addr string) (listener, error) {
	l, err := ovs.Listen(ctx, addr, ovs.ListenOptions{Log: o.log})
	if err != nil {
		return nil, err
	}
	return openFlow{l}, nil
}

type openFlow struct{ *ovs.Listener }

func (l openFlow) accept(ctx context.Context) (session, error) {
	s, err := l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return openFlowSession{s}, nil
}

type openFlowSession struct{ *ovs.Session }

func (s openFlowSession) speaker(every time.Duration) speaker {
	return ovs.NewSpeaker(s.Session, every)
}

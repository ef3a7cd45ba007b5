// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Options of a Stream. The zero value of a field means what Defaults says.
// LAN and WAN are presets for two kinds of network.
type Options struct {
	// Service that is expected; another one refuses. Default: any.
	Service string
	// Connect makes a connection to the service's address, ready for the
	// checkpoint protocol, for example through TLS or an HTTP upgrade. Two may
	// run at a time. Default: TCP to the address given to Dial.
	Connect func(ctx context.Context) (net.Conn, error)

	// Silence after which a server is taken for dead. It sends heartbeats
	// three times as often. Default: 1 s.
	Silence time.Duration
	// AcceptTimeout is how long a connected server may take to accept the
	// stream at the first attempt; later ones give it up to four times as
	// long. Default: 2 s.
	AcceptTimeout time.Duration
	// ConnectTimeout of one attempt. Default: 3 s.
	ConnectTimeout time.Duration
	// RaceDelay is how long the first connect of an attempt may take before a
	// second one is started beside it; the faster one is used. Default: 200 ms.
	RaceDelay time.Duration
	// ResumeTimeout bounds an outage: from the loss of the connection to the
	// first progress after it. Also the time for the first connection.
	// Default: 30 s.
	ResumeTimeout time.Duration
	// BackoffMin and BackoffMax are the pauses before the second and before
	// late attempts, half of which is random. The first attempt has none.
	// Defaults: 10 ms, 1 s.
	BackoffMin, BackoffMax time.Duration

	// ReplayBuffer bounds the input that was written and that no checkpoint
	// covers yet; when it is full Write waits. Default: 256 KiB.
	ReplayBuffer int
	// HoldBuffer bounds the output that was received and not yet read, or,
	// for a Committed service, not yet covered. Default: 256 KiB.
	HoldBuffer int
	// MaxCheckpoint bounds a sealed checkpoint. Default: 64 KiB.
	MaxCheckpoint int

	// OnEvent, if set, is told of the stream's changes, in order, one call at a
	// time. It must return soon and must not call the stream's Close, Read or
	// Write.
	OnEvent func(Event)
	// OnProgress, if set, is called after a Read that returned bytes, with the
	// output received and the input written so far.
	OnProgress func(Position)
}

// Defaults are for servers in the same building or the same city.
func Defaults() Options {
	return Options{
		Silence:        time.Second,
		AcceptTimeout:  2 * time.Second,
		ConnectTimeout: 3 * time.Second,
		RaceDelay:      200 * time.Millisecond,
		ResumeTimeout:  30 * time.Second,
		BackoffMin:     10 * time.Millisecond,
		BackoffMax:     time.Second,
		ReplayBuffer:   256 << 10,
		HoldBuffer:     256 << 10,
		MaxCheckpoint:  64 << 10,
	}
}

// LAN notices a silent server within 250 ms; for networks that never take as
// long.
func LAN() Options {
	o := Defaults()
	o.Silence = 250 * time.Millisecond
	o.AcceptTimeout = 500 * time.Millisecond
	o.ConnectTimeout = time.Second
	o.RaceDelay = 50 * time.Millisecond
	return o
}

// WAN is patient: for links that lose packets, and mobile clients.
func WAN() Options {
	o := Defaults()
	o.Silence = 5 * time.Second
	o.AcceptTimeout = 10 * time.Second
	o.ConnectTimeout = 10 * time.Second
	o.RaceDelay = time.Second
	o.ResumeTimeout = 5 * time.Minute
	o.BackoffMax = 10 * time.Second
	return o
}

func (o Options) withDefaults() Options {
	d := Defaults()
	setDefault(&o.Silence, d.Silence)
	setDefault(&o.AcceptTimeout, d.AcceptTimeout)
	setDefault(&o.ConnectTimeout, d.ConnectTimeout)
	setDefault(&o.RaceDelay, d.RaceDelay)
	setDefault(&o.ResumeTimeout, d.ResumeTimeout)
	setDefault(&o.BackoffMin, d.BackoffMin)
	setDefault(&o.BackoffMax, d.BackoffMax)
	setDefault(&o.ReplayBuffer, d.ReplayBuffer)
	setDefault(&o.HoldBuffer, d.HoldBuffer)
	setDefault(&o.MaxCheckpoint, d.MaxCheckpoint)
	return o
}

// maxCheckpoint is what the largest MaxState of servers comes to.
const maxCheckpoint = tokenOverhead + maxMaxState

// maxSilence is what a hello can say in milliseconds, and more than enough.
const maxSilence = time.Hour

func (o Options) validate() error {
	for _, d := range []time.Duration{o.Silence, o.AcceptTimeout, o.ConnectTimeout, o.RaceDelay, o.ResumeTimeout, o.BackoffMin} {
		if d < time.Millisecond {
			return fmt.Errorf("checkpoint: a time in Options is %s, want a millisecond or more", d)
		}
	}
	switch {
	case o.Silence > maxSilence:
		return fmt.Errorf("checkpoint: Silence is %s, want at most %s", o.Silence, maxSilence)
	case o.BackoffMax < o.BackoffMin:
		return errors.New("checkpoint: BackoffMax is less than BackoffMin")
	case o.ReplayBuffer < minHold || o.HoldBuffer < minHold:
		return fmt.Errorf("checkpoint: ReplayBuffer and HoldBuffer want %d bytes or more", minHold)
	case o.ReplayBuffer > 1<<30 || o.HoldBuffer > 1<<30:
		return errors.New("checkpoint: ReplayBuffer and HoldBuffer want 1 GiB or less")
	case o.MaxCheckpoint < tokenOverhead || o.MaxCheckpoint > maxCheckpoint:
		return fmt.Errorf("checkpoint: MaxCheckpoint is %d, want %d to %d bytes", o.MaxCheckpoint, tokenOverhead, maxCheckpoint)
	case len(o.Service) > maxService:
		return fmt.Errorf("checkpoint: service name has %d bytes, want at most %d", len(o.Service), maxService)
	}
	return nil
}

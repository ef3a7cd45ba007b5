// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Delivery says when the client's application sees what the server wrote.
type Delivery uint8

const (
	// Immediate delivers at once. After a resume the server writes again what
	// it had written since the checkpoint, and the client discards it by its
	// offset: the bytes must be the same again, so the output must follow from
	// the state and the input alone.
	Immediate Delivery = iota
	// Committed delivers only what a checkpoint covers; the client forgets the
	// rest when its server dies. For servers whose output is not determined by
	// their state: chats, clocks, anything that others feed.
	Committed
)

// ServerOptions of a Server. The zero value of a field means its default.
type ServerOptions struct {
	// Policy says when Session.Offer takes a checkpoint. Default: Adaptive().
	Policy Policy
	// Delivery is a property of the application. Default: Immediate.
	Delivery Delivery
	// MaxState is the largest state in bytes. Default: 16 KiB. It is kept in
	// each client's memory, and sent again with each checkpoint.
	MaxState int
	// Lifetime of a checkpoint. Default: 24 h. The servers' clocks must agree
	// to much less than that.
	Lifetime time.Duration
	// Heartbeat is the longest time without a frame. Clients that want to
	// detect silence faster get it more often. Default: 1 s.
	Heartbeat time.Duration
	// HandshakeTimeout bounds the time to a complete hello. Default: 5 s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long a client may take nothing before it is
	// dropped. It can resume: dropping a paused client frees its memory here.
	// Default: 2 min.
	WriteTimeout time.Duration
	// Grace is how long handlers may still write after the server's context
	// is done. Default: 500 ms.
	Grace time.Duration
	// MaxStreams at a time; more are refused as busy, and try again. Default:
	// no bound.
	MaxStreams int
	// Once, if set, lets a checkpoint resume only once. See Once.
	Once Once
	// Logger gets refused and failed streams. Default: nobody.
	Logger *slog.Logger
}

const (
	defaultMaxState = 16 << 10
	maxMaxState     = 1 << 20 // sealed, it must fit a frame and be bearable for clients
	minHeartbeat    = 10 * time.Millisecond
)

func (o ServerOptions) withDefaults() ServerOptions {
	setDefault(&o.MaxState, defaultMaxState)
	setDefault(&o.Lifetime, 24*time.Hour)
	setDefault(&o.Heartbeat, time.Second)
	setDefault(&o.HandshakeTimeout, 5*time.Second)
	setDefault(&o.WriteTimeout, 2*time.Minute)
	setDefault(&o.Grace, 500*time.Millisecond)
	if o.Policy == (Policy{}) {
		o.Policy = Adaptive()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate checks what defaults do not repair.
func (o ServerOptions) validate() error {
	switch {
	case o.MaxState < 0 || o.MaxState > maxMaxState:
		return fmt.Errorf("checkpoint: MaxState is %d, want 1 to %d bytes", o.MaxState, maxMaxState)
	case o.Lifetime < time.Second:
		return fmt.Errorf("checkpoint: Lifetime is %s, want a second or more", o.Lifetime)
	case o.Heartbeat < minHeartbeat:
		return fmt.Errorf("checkpoint: Heartbeat is %s, want %s or more", o.Heartbeat, minHeartbeat)
	case o.HandshakeTimeout < 0 || o.WriteTimeout < 0 || o.Grace < 0 || o.MaxStreams < 0:
		return errors.New("checkpoint: a time or a bound in ServerOptions is negative")
	}
	return nil
}

// heartbeatFor returns the gap that suits a client which calls the server dead
// after silence: a third of it, within bounds.
func (o ServerOptions) heartbeatFor(silence time.Duration) time.Duration {
	if silence <= 0 {
		return o.Heartbeat
	}
	return max(min(silence/3, o.Heartbeat), minHeartbeat)
}

// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// TransportOptions of NewTransport.
type TransportOptions struct {
	// Checkpoint options of each stream. Connect is set by the transport.
	Checkpoint checkpoint.Options
	// TLS is for https; nil means Go's default.
	TLS *tls.Config
	// OnStream, if set, is called with each new stream.
	OnStream func(*checkpoint.Stream)
}

// idleStreamTimeout: an unused stream holds a place at a server.
const idleStreamTimeout = 5 * time.Second

// NewTransport returns an http.RoundTripper whose connections are checkpointed
// streams to u's host: requests on it survive their server. u's path is used
// for the upgrade; requests may ask for others.
func NewTransport(u *url.URL, opts TransportOptions) *http.Transport {
	opts.Checkpoint.Connect = Connector(u, opts.TLS)
	if opts.Checkpoint.Service == "" {
		opts.Checkpoint.Service = Service
	}
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		s, err := dialStream(ctx, addr, opts.Checkpoint)
		if err != nil {
			return nil, err
		}
		if opts.OnStream != nil {
			opts.OnStream(s)
		}
		return s, nil
	}
	return &http.Transport{
		DialContext:        dial,
		DialTLSContext:     dial, // TLS is inside the stream's connections
		DisableCompression: true,
		IdleConnTimeout:    idleStreamTimeout,
	}
}

// dialStream dials under ctx a stream that outlives ctx.
func dialStream(ctx context.Context, addr string, opts checkpoint.Options) (*checkpoint.Stream, error) {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	s, err := checkpoint.Dial(life, addr, opts)
	if err != nil {
		stop()
		cancel(err)
		return nil, err
	}
	stop()
	return s, nil
}

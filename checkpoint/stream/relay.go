// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"

	"github.com/onevip/onevip/checkpoint"
)

// RelayOptions of a Relay.
type RelayOptions struct {
	Transport TransportOptions
	// Logger gets the outages. Default: nobody.
	Logger *slog.Logger
}

// Relay is an HTTP server beside an unmodified player: it asks the service for
// what the player asks, over a checkpointed stream, so that the player sees one
// connection to a server that does not die.
type Relay struct {
	proxy     httputil.ReverseProxy
	transport *http.Transport
}

// NewRelay relays to u. A request for "/" gets u itself; others are relative to
// u's directory.
func NewRelay(u *url.URL, opts RelayOptions) *Relay {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Transport.Checkpoint.OnEvent == nil {
		opts.Transport.Checkpoint.OnEvent = logEvents(opts.Logger)
	}
	r := &Relay{transport: NewTransport(u, opts.Transport)}
	r.proxy = httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { rewrite(p.Out, u) },
		Transport:     r.transport,
		FlushInterval: -1, // at once: players wait for it
		ErrorLog:      slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return // the player went away
			}
			opts.Logger.Warn("relay failed", "err", err)
			http.Error(w, "the service can not be reached: "+err.Error(), http.StatusBadGateway)
		},
	}
	return r
}

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.proxy.ServeHTTP(w, req) }

// Close closes the streams that are not in use.
func (r *Relay) Close() { r.transport.CloseIdleConnections() }

// rewrite turns a player's request into one to u.
func rewrite(out *http.Request, u *url.URL) {
	asked := out.URL.Path
	out.URL.Scheme, out.URL.Host, out.Host = u.Scheme, u.Host, u.Host
	if asked == "/" || asked == "" {
		out.URL.Path, out.URL.RawPath = u.Path, u.RawPath
		if out.URL.RawQuery == "" {
			out.URL.RawQuery = u.RawQuery
		}
		return
	}
	dir := u.Path
	if !strings.HasSuffix(dir, "/") {
		dir = path.Dir(dir)
	}
	out.URL = out.URL.ResolveReference(&url.URL{Path: path.Join("/", dir, asked), RawQuery: out.URL.RawQuery})
}

// logEvents is an OnEvent that logs outages.
func logEvents(log *slog.Logger) func(checkpoint.Event) {
	return func(e checkpoint.Event) {
		switch e.Kind {
		case checkpoint.EventLost:
			log.Info("server lost", "at", e.Position.Out, "cause", e.Err)
		case checkpoint.EventResumed:
			log.Info("stream resumed", "server", e.Remote, "at", e.Position.Out, "outage", e.Outage, "attempts", e.Attempt)
		case checkpoint.EventFailed:
			log.Warn("stream failed", "at", e.Position.Out, "err", e.Err)
		}
	}
}

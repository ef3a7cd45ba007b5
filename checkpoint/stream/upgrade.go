// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// Protocol is the name of the checkpoint protocol in HTTP's Upgrade header.
// The request's path is what will be asked for inside, so that a layer-7
// dispatcher can see it.
const Protocol = "onevip-checkpoint/1"

func wantsUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), Protocol) &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + Protocol + "\r\nConnection: Upgrade\r\n\r\n"

// takeOver answers an upgrade and returns the connection.
func takeOver(w http.ResponseWriter) (net.Conn, error) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if buf.Reader.Buffered() > 0 {
		conn.Close()
		return nil, errors.New("upgrade: client sent more before the answer")
	}
	if _, err := conn.Write([]byte(switching)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return conn, nil
}

// Connector returns a checkpoint.Options.Connect that upgrades an HTTP
// connection to u, whose scheme is http or https. tlsConfig may be nil.
func Connector(u *url.URL, tlsConfig *tls.Config) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx, u, tlsConfig)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		err = upgrade(conn, u)
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func dial(ctx context.Context, u *url.URL, tlsConfig *tls.Config) (net.Conn, error) {
	if u.Scheme == "https" {
		return (&tls.Dialer{Config: tlsConfig}).DialContext(ctx, "tcp", hostPort(u))
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(u))
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// upgrade asks for the checkpoint protocol and waits for the yes.
func upgrade(conn net.Conn, u *url.URL) error {
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		u.RequestURI(), u.Host, Protocol)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	br := bufio.NewReaderSize(conn, 1024)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("upgrade: server says %s", resp.Status) // try again
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return &checkpoint.Refusal{Reason: checkpoint.ReasonProtocol,
			Detail: fmt.Sprintf("%s does not speak %s: it answered %q", u.Host, Protocol, resp.Status)}
	case br.Buffered() > 0:
		return errors.New("upgrade: server sent more before the hello")
	}
	return nil
}

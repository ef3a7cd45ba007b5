// SPDX-License-Identifier: Apache-2.0

package scheduler

// Fallback says why a connection is placed by least connection although its
// service goes by a key. The numbers are those of enum fallback in
// bpf/src/fallback.h; a test in package bpf compares them.
type Fallback uint32

const (
	// Inspected is no fallback: there is a key.
	Inspected Fallback = iota
	// FallbackShort: the key, or what must follow it, is not whole in the segment.
	FallbackShort
	// FallbackTooLong: likewise, in the first LookedAt bytes of a longer segment.
	FallbackTooLong
	// FallbackNoKey: a sound request without one: no such header, no server name.
	FallbackNoKey
	// FallbackNotHTTP: does not begin as a request of HTTP/1.x.
	FallbackNotHTTP
	// FallbackNotTLS: does not begin as a TLS ClientHello.
	FallbackNotTLS
	// FallbackSilent: the client waits for the server to speak first. Key never
	// says so.
	FallbackSilent
	fallbackCount
)

var fallbackNames = [fallbackCount]string{
	"inspected", "short", "too_long", "no_key", "not_http", "not_tls", "silent",
}

// String is the fallback as metrics and the CLI show it.
func (f Fallback) String() string {
	if f >= fallbackCount {
		return "unknown"
	}
	return fallbackNames[f]
}

// Fallbacks lists all of them, Inspected first.
func Fallbacks() []Fallback {
	all := make([]Fallback, fallbackCount)
	for i := range all {
		all[i] = Fallback(i)
	}
	return all
}

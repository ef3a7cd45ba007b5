// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"github.com/dchest/siphash"

	"github.com/onevip/onevip/topology"
)

// KeyKey0 and KeyKey1 are the SipHash key of Key. In memory order they spell
// "onevip reqkey v1".
const (
	KeyKey0 = 0x7220706976656e6f // "onevip r"
	KeyKey1 = 0x31762079656b7165 // "eqkey v1"
)

// LookedAt is how much of a payload is looked at, in bytes: two segments that the
// node's network card has merged, which a ClientHello of a browser wants.
const LookedAt = 3072

// Key finds what the first data segment of a connection asks for, and its hash:
// SipHash-2-4 under KeyKey0, KeyKey1 over the text, without anything before or
// after. segments belongs to topology.KeyPathPrefix, header (in lower case) to
// topology.KeyHeader. Nothing is decoded: same bytes, same key. Nothing is looked
// at beyond what the key needs, so that a long query or long headers behind it do
// no harm. docs/formats/key.md says what a key is for each kind; inspect() in
// package bpf does just this.
func Key(kind topology.KeyKind, segments int, header string, payload []byte) (hash uint64, text string, why Fallback) {
	text, why = look(payload).key(kind, segments, header)
	if why != Inspected {
		return 0, "", why
	}
	return KeyHash(text), text, Inspected
}

// KeyHash is the hash of a key's text.
func KeyHash(text string) uint64 { return siphash.Hash(KeyKey0, KeyKey1, []byte(text)) }

// looked is the part of a payload that is looked at.
type looked struct {
	data []byte
	cut  Fallback // what it means if that ends too early
}

func look(payload []byte) looked {
	if len(payload) > LookedAt {
		return looked{payload[:LookedAt], FallbackTooLong}
	}
	return looked{payload, FallbackShort}
}

func (l looked) key(kind topology.KeyKind, segments int, header string) (string, Fallback) {
	if kind == topology.KeySNI {
		return l.serverName()
	}
	method, target, why := l.method()
	if why != Inspected {
		return "", why
	}
	if kind == topology.KeyHeader {
		return l.header(header, target, target)
	}
	if kind != topology.KeyPathPrefix {
		segments = -1
	}
	host, path, end, why := l.target(method, target, segments)
	if why != Inspected || kind != topology.KeyHostPath {
		return path, why
	}
	if host == "" {
		if host, why = l.header("host", target, end); why != Inspected {
			return "", why
		}
	}
	return lower(host) + path, Inspected
}

// index is where the first byte at or behind `at` stands for which f is true, or
// -1.
func (l looked) index(at int, f func(byte) bool) int {
	for ; at < len(l.data); at++ {
		if f(l.data[at]) {
			return at
		}
	}
	return -1
}

// has tells whether there are n bytes at `at`.
func (l looked) has(at, n int) bool { return at+n <= len(l.data) }

// lower leaves all but ASCII letters as it is.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

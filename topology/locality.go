// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// LocalityRules say how a service whose policy inspects finds the node for a
// request. Low, High and Decay are those of Locality, Bound is that of
// BoundedHash; both may stand there, so that one word changes the policy.
type LocalityRules struct {
	// Key is the part of the first request that says what it wants.
	Key LocalityKey `yaml:"key"` // path
	// Low and High are connections per unit of weight: a node above High gives a
	// part of what it is asked for to one below Low, and at twice High to anyone.
	Low  uint32 `yaml:"low"`  // 25
	High uint32 `yaml:"high"` // 65
	// Decay is how long the nodes of a key stay as they are until one is let go.
	Decay time.Duration `yaml:"decay"` // 20s
	// Bound is how much of the average load a node may have, by its weight.
	Bound float64 `yaml:"bound"` // 1.25
	// Silent is for clients that wait for the server to speak first.
	Silent Silent `yaml:"silent"`
}

// Silent says what becomes of a client that connects and asks for nothing.
type Silent struct {
	After time.Duration `yaml:"after"` // 3s
	Then  SilentThen    `yaml:"then"`  // least-connection
}

// SilentThen is what is done with a silent client.
type SilentThen string

// A protocol in which the server speaks first has no key to decide by.
const (
	SilentLeastConnection SilentThen = "least-connection"
	SilentClose           SilentThen = "close"
)

// LocalityKey is a KeyKind as written, with what belongs to it: path,
// path-prefix:2, host+path, header:x-user or tls-sni.
type LocalityKey string

// KeyKind is the part of a first request that is looked at. The numbers are
// those of enum key_kind in bpf/src/types.h.
type KeyKind uint32

const (
	KeyPath       KeyKind = iota + 1 // the path, without the query
	KeyPathPrefix                    // its first segments
	KeyHostPath                      // Host and path
	KeyHeader                        // the value of one header
	KeySNI                           // the server's name in a TLS ClientHello
)

// keyWords are the kinds as they are written.
var keyWords = map[KeyKind]string{
	KeyPath: "path", KeyPathPrefix: "path-prefix", KeyHostPath: "host+path", KeyHeader: "header", KeySNI: "tls-sni",
}

func (k KeyKind) String() string { return keyWords[k] }

// Bounds of a key: what the filter has room for.
const (
	MaxKeySegments = 16 // of path-prefix
	MaxHeaderName  = 32 // bytes
)

// Parse takes the key apart: segments belong to KeyPathPrefix, name to KeyHeader,
// in lower case. The kind is 0 if the key is none that Validate accepts.
func (k LocalityKey) Parse() (kind KeyKind, segments int, name string) {
	kind, segments, name, _, _ = k.parse()
	return kind, segments, name
}

// parse is Parse, and what is wrong and what to write instead.
func (k LocalityKey) parse() (kind KeyKind, segments int, name, what, fix string) {
	word, rest, more := strings.Cut(string(k), ":")
	switch word {
	case keyWords[KeyPathPrefix]:
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > MaxKeySegments || strconv.Itoa(n) != rest {
			return 0, 0, "", fmt.Sprintf("%q has no number of segments", k), fmt.Sprintf("write path-prefix:N with 1 to %d for N", MaxKeySegments)
		}
		return KeyPathPrefix, n, "", "", ""
	case keyWords[KeyHeader]:
		if !isHeaderName(rest) {
			return 0, 0, "", fmt.Sprintf("%q names no header", k), fmt.Sprintf("write header:NAME, at most %d letters, digits and '-'", MaxHeaderName)
		}
		return KeyHeader, 0, strings.ToLower(rest), "", ""
	}
	for kind, known := range keyWords {
		if word == known && !more {
			return kind, 0, "", "", ""
		}
	}
	return 0, 0, "", fmt.Sprintf("%q is no key", k), "write path, path-prefix:N, host+path, header:NAME or tls-sni"
}

// normal writes a header's name in lower case: names differ in nothing else (RFC
// 9110, 5.1). What Parse refuses stays as it is, to be shown.
func (k LocalityKey) normal() LocalityKey {
	if kind, _, name := k.Parse(); kind == KeyHeader {
		return LocalityKey(keyWords[KeyHeader] + ":" + name)
	}
	return k
}

// isHeaderName tells whether name is a token (RFC 9110, 5.6.2) that the filter
// has room for.
func isHeaderName(name string) bool {
	return name != "" && len(name) <= MaxHeaderName && !strings.ContainsFunc(name, func(r rune) bool {
		isAlphanumeric := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !isAlphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

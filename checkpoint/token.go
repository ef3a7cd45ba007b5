// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Position is a place in a stream: how many bytes of each direction lie before
// it. In is what the client sent and the server's application consumed, Out
// what the server's application wrote.
type Position struct {
	In, Out uint64
}

// token is the readable part of a sealed checkpoint. All of it is
// authenticated, with the service's whole name.
type token struct {
	key    KeyID
	tag    serviceTag
	stream StreamID
	seq    uint64 // 1 for a stream's first, then rising, across servers too
	pos    Position
	expiry time.Time // whole seconds
	sealed int       // bytes of ciphertext that follow
}

// serviceTag tells a foreign service from a forgery: a hash of the name.
type serviceTag [8]byte

func tagOf(service string) serviceTag {
	sum := sha256.Sum256([]byte(service))
	return serviceTag(sum[:8])
}

const (
	tokenHeader   = 1 + 4 + 8 + 16 + 8 + 8 + 8 + 8 + 4 // up to and with the ciphertext's length
	tokenNonce    = chacha20poly1305.NonceSizeX
	tokenOverhead = tokenHeader + tokenNonce + 1 + chacha20poly1305.Overhead
)

// First byte of the plaintext: whether application state follows it, or the
// token only marks a place that is the beginning as far as the application knows.
const (
	plainEmpty = 0
	plainState = 1
)

func (t token) append(b []byte) []byte {
	b = append(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(t.key))
	b = append(b, t.tag[:]...)
	b = append(b, t.stream[:]...)
	b = binary.BigEndian.AppendUint64(b, t.seq)
	b = binary.BigEndian.AppendUint64(b, t.pos.In)
	b = binary.BigEndian.AppendUint64(b, t.pos.Out)
	b = binary.BigEndian.AppendUint64(b, uint64(t.expiry.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.sealed))
}

// parseToken reads the readable part. Errors are a *Refusal: version or
// truncated.
func parseToken(b []byte) (token, error) {
	if len(b) > 0 && b[0] != version {
		return token{}, refuse(ReasonVersion, "checkpoint of version %d, want %d", b[0], version)
	}
	if len(b) < tokenOverhead {
		return token{}, refuse(ReasonTruncated, "checkpoint of %d bytes, the shortest has %d", len(b), tokenOverhead)
	}
	t := token{
		key:    KeyID(binary.BigEndian.Uint32(b[1:])),
		tag:    serviceTag(b[5:]),
		stream: StreamID(b[13:]),
		seq:    binary.BigEndian.Uint64(b[29:]),
		pos:    Position{In: binary.BigEndian.Uint64(b[37:]), Out: binary.BigEndian.Uint64(b[45:])},
		expiry: time.Unix(int64(binary.BigEndian.Uint64(b[53:])&math.MaxInt64), 0),
		sealed: int(binary.BigEndian.Uint32(b[61:])),
	}
	if have := len(b) - tokenHeader - tokenNonce; have != t.sealed {
		return token{}, refuse(ReasonTruncated, "checkpoint holds %d sealed bytes, says %d", have, t.sealed)
	}
	return t, nil
}

// sealer seals and opens the checkpoints of one service.
type sealer struct {
	service  string
	tag      serviceTag
	keys     Keys
	lifetime time.Duration
}

func newSealer(service string, keys Keys, lifetime time.Duration) sealer {
	return sealer{service: service, tag: tagOf(service), keys: keys, lifetime: lifetime}
}

// seal appends a checkpoint of state to dst. A nil state marks a beginning.
func (s *sealer) seal(dst []byte, stream StreamID, seq uint64, pos Position, state []byte, now time.Time) []byte {
	key := s.keys.Current()
	t := token{
		key: key.id, tag: s.tag, stream: stream, seq: seq, pos: pos,
		expiry: now.Add(s.lifetime),
		sealed: 1 + len(state) + chacha20poly1305.Overhead,
	}
	start := len(dst)
	dst = t.append(dst)
	aad := s.associated(dst[start:])
	nonce := len(dst)
	dst = append(dst, make([]byte, tokenNonce)...)
	rand.Read(dst[nonce:])
	plain := len(dst)
	dst = append(dst, plainState)
	if state == nil {
		dst[plain] = plainEmpty
	}
	dst = append(dst, state...)
	return key.aead.Seal(dst[:plain], dst[nonce:plain], dst[plain:], aad)
}

// associated is the readable part with the service's name: what the seal binds
// the state to.
func (s *sealer) associated(head []byte) []byte {
	aad := make([]byte, 0, tokenHeader+len(s.service))
	return append(append(aad, head...), s.service...)
}

// open verifies a checkpoint and returns its state, nil if it marks a
// beginning. Errors are a *Refusal that names what is wrong.
func (s *sealer) open(b []byte, stream StreamID, now time.Time) (token, []byte, error) {
	t, err := parseToken(b)
	if err != nil {
		return token{}, nil, err
	}
	if t.tag != s.tag {
		return token{}, nil, refuse(ReasonForeignService, "checkpoint is not of service %q", s.service)
	}
	key, ok := s.keys.Lookup(t.key)
	if !ok {
		return token{}, nil, refuse(ReasonUnknownKey, "no key %s at this server", t.key)
	}
	nonce := b[tokenHeader : tokenHeader+tokenNonce]
	plain, err := key.aead.Open(nil, nonce, b[tokenHeader+tokenNonce:], s.associated(b[:tokenHeader]))
	if err != nil {
		return token{}, nil, refuse(ReasonForged, "checkpoint does not open under key %s", t.key)
	}
	if t.stream != stream {
		return token{}, nil, refuse(ReasonForeignStream, "checkpoint of stream %s presented by %s", t.stream, stream)
	}
	if !now.Before(t.expiry) {
		return token{}, nil, refuse(ReasonExpired, "checkpoint expired %s ago", now.Sub(t.expiry).Round(time.Second))
	}
	if plain[0] == plainEmpty {
		return t, nil, nil
	}
	return t, plain[1:], nil
}

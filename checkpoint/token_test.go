// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newTestSealer(service string, keys Keys) *sealer {
	s := newSealer(service, keys, time.Hour)
	return &s
}

func TestTokenOpensAsSealed(t *testing.T) {
	s := newTestSealer("test", NewKeyRing(GenerateKey()))
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "state")
		pos := Position{In: rapid.Uint64().Draw(t, "in"), Out: rapid.Uint64().Draw(t, "out")}
		seq := rapid.Uint64().Draw(t, "seq")
		id := StreamID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		prefix := []byte("head")
		b := s.seal(prefix, id, seq, pos, append([]byte{}, state...), noon)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("prefix lost")
		}
		b = b[len(prefix):]
		if len(b) != tokenOverhead+len(state) {
			t.Fatalf("%d bytes for a state of %d", len(b), len(state))
		}
		got, opened, err := s.open(b, id, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got.pos != pos || got.seq != seq || !bytes.Equal(opened, state) || opened == nil {
			t.Fatalf("opened %+v %x", got, opened)
		}
	})
}

func TestTokenMarksABeginning(t *testing.T) {
	s := newTestSealer("test", NewKeyRing(GenerateKey()))
	_, state, err := s.open(s.seal(nil, StreamID{1}, 1, Position{}, nil, noon), StreamID{1}, noon)
	if err != nil || state != nil {
		t.Fatalf("state %v, error %v; want neither", state, err)
	}
}

func TestTokenRefusals(t *testing.T) {
	key := GenerateKey()
	ours := newTestSealer("test", NewKeyRing(key))
	good := ours.seal(nil, StreamID{1}, 3, Position{In: 5, Out: 7}, []byte("state"), noon)
	changed := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	cases := []struct {
		name  string
		token []byte
		open  *sealer
		id    StreamID
		now   time.Time
		want  error
	}{
		{"as it should be", good, ours, StreamID{1}, noon, nil},
		{"last second of its life", good, ours, StreamID{1}, noon.Add(time.Hour - time.Second), nil},
		{"expired", good, ours, StreamID{1}, noon.Add(time.Hour), ErrExpired},
		{"empty", nil, ours, StreamID{1}, noon, ErrTruncated},
		{"one byte short", good[:len(good)-1], ours, StreamID{1}, noon, ErrTruncated},
		{"one byte long", append(bytes.Clone(good), 0), ours, StreamID{1}, noon, ErrTruncated},
		{"another version", changed(0), ours, StreamID{1}, noon, ErrVersion},
		{"another key id", changed(1), ours, StreamID{1}, noon, ErrUnknownKey},
		{"another service's mark", changed(5), ours, StreamID{1}, noon, ErrForeignService},
		{"another stream id", changed(13), ours, StreamID{1}, noon, ErrForged},
		{"a later sequence", changed(36), ours, StreamID{1}, noon, ErrForged},
		{"another input offset", changed(44), ours, StreamID{1}, noon, ErrForged},
		{"another output offset", changed(52), ours, StreamID{1}, noon, ErrForged},
		{"a later expiry", changed(60), ours, StreamID{1}, noon, ErrForged},
		{"another nonce", changed(tokenHeader), ours, StreamID{1}, noon, ErrForged},
		{"another state", changed(tokenHeader + tokenNonce + 2), ours, StreamID{1}, noon, ErrForged},
		{"another tag", changed(len(good) - 1), ours, StreamID{1}, noon, ErrForged},
		{"presented by another stream", good, ours, StreamID{2}, noon, ErrForeignStream},
		{"presented to another service", good, newTestSealer("other", NewKeyRing(key)), StreamID{1}, noon, ErrForeignService},
		{"presented to another cluster", good, newTestSealer("test", NewKeyRing(GenerateKey())), StreamID{1}, noon, ErrUnknownKey},
		{"under an older key", good, newTestSealer("test", NewKeyRing(GenerateKey(), key)), StreamID{1}, noon, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := c.open.open(c.token, c.id, c.now)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestTokenHidesState(t *testing.T) {
	s := newTestSealer("test", NewKeyRing(GenerateKey()))
	secret := []byte("the state is nobody's business")
	a := s.seal(nil, StreamID{1}, 1, Position{}, secret, noon)
	b := s.seal(nil, StreamID{1}, 1, Position{}, secret, noon)
	if bytes.Contains(a, secret[:8]) {
		t.Error("state is readable")
	}
	if bytes.Equal(a[tokenHeader:], b[tokenHeader:]) {
		t.Error("two seals of one state are equal: the nonce repeats")
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	secret := bytes.Repeat([]byte{0xab}, KeySize)
	key, err := NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, value := range []any{key, &key, []Key{key}, struct{ K Key }{key}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "abab") || strings.Contains(text, "171 171") {
				t.Errorf("%s of %T shows the secret: %s", verb, value, text)
			}
		}
	}
	if _, err := NewKey(secret[1:]); err == nil {
		t.Error("a short secret makes a key")
	}
}

func TestKeyRingRotates(t *testing.T) {
	a, b, c := GenerateKey(), GenerateKey(), GenerateKey()
	ring := NewKeyRing(a)
	ring.Rotate(b, 1)
	ring.Rotate(c, 1)
	if ring.Current().ID() != c.ID() {
		t.Error("the newest key is not the current one")
	}
	if _, ok := ring.Lookup(b.ID()); !ok {
		t.Error("the key before it is not accepted")
	}
	if _, ok := ring.Lookup(a.ID()); ok {
		t.Error("a dropped key is accepted")
	}
}

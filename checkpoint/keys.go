// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of a key's secret in bytes.
const KeySize = chacha20poly1305.KeySize

// KeyID names a key inside checkpoints. It is derived from the secret, so that
// two keys never share one by mistake.
type KeyID uint32

// String returns the id as it is shown everywhere: eight hexadecimal digits.
func (id KeyID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

// Key seals checkpoints: XChaCha20-Poly1305, whose 192-bit nonces may be drawn
// at random by any number of servers that share the key.
type Key struct {
	id   KeyID
	aead cipher.AEAD
}

// NewKey makes a key of a secret of KeySize bytes.
func NewKey(secret []byte) (Key, error) {
	aead, err := chacha20poly1305.NewX(secret)
	if err != nil {
		return Key{}, fmt.Errorf("checkpoint key: secret has %d bytes, want %d", len(secret), KeySize)
	}
	sum := sha256.Sum256(append([]byte("onevip checkpoint key id\x00"), secret...))
	return Key{id: KeyID(binary.BigEndian.Uint32(sum[:])), aead: aead}, nil
}

// GenerateKey makes a random key, for a server that shares it with nobody.
func GenerateKey() Key {
	secret := make([]byte, KeySize)
	rand.Read(secret)
	key, err := NewKey(secret)
	if err != nil {
		panic(err) // the size is right
	}
	return key
}

// ID returns the key's name.
func (k Key) ID() KeyID { return k.id }

// Format writes the key's id whatever the verb: the secret is never printed.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key %s (secret)", k.id) }

// Keys is where a server finds its keys. Its methods are called for each
// checkpoint, by many goroutines: they must be fast.
type Keys interface {
	// Current returns the key to seal with.
	Current() Key
	// Lookup returns the key to open with, and whether it is still accepted.
	Lookup(id KeyID) (Key, bool)
}

// KeyRing is Keys in memory: one current key and older ones that still open.
// It is safe for concurrent use.
type KeyRing struct {
	keys atomic.Pointer[[]Key] // newest first, never empty, never changed in place
}

// NewKeyRing makes a ring. older are accepted, newest first, never sealed with.
func NewKeyRing(current Key, older ...Key) *KeyRing {
	r := &KeyRing{}
	r.Set(current, older...)
	return r
}

// Set replaces all keys at once.
func (r *KeyRing) Set(current Key, older ...Key) {
	keys := append([]Key{current}, older...)
	r.keys.Store(&keys)
}

// Rotate makes next the current key and keeps the newest older ones.
func (r *KeyRing) Rotate(next Key, keepOlder int) {
	older := *r.keys.Load()
	r.Set(next, older[:min(keepOlder, len(older))]...)
}

// Current implements Keys.
func (r *KeyRing) Current() Key { return (*r.keys.Load())[0] }

// Lookup implements Keys.
func (r *KeyRing) Lookup(id KeyID) (Key, bool) {
	for _, k := range *r.keys.Load() {
		if k.id == id {
			return k, true
		}
	}
	return Key{}, false
}

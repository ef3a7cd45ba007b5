// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"
)

// Duration is a time.Duration that is stored as words: "100ms".
type Duration time.Duration

// MarshalText gives the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the form of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}

// Secret is key material. It is stored as base64 and never printed: String,
// GoString and slog give "[redacted]".
type Secret []byte

const redacted = "[redacted]"

// MarshalText gives base64; only the store calls it.
func (s Secret) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(s)), nil
}

// UnmarshalText is the inverse of MarshalText.
func (s *Secret) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("decode secret: %w", err)
	}
	*s = raw
	return nil
}

func (s Secret) String() string { return redacted }

// GoString is what %#v prints.
func (s Secret) GoString() string { return redacted }

// LogValue is what slog prints.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

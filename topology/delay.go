// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"time"
)

// Delay is a span, or Never, which is written off.
type Delay time.Duration

// Never is the Delay of what does not happen at all.
const Never Delay = -1

var errDelay = errors.New("neither a span nor off")

// MarshalText writes the form of time.Duration.String, or off.
func (d Delay) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a span with its unit, 0, or off.
func (d *Delay) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*d = Never
		return nil
	}
	span, err := time.ParseDuration(string(text))
	if err != nil || span < 0 {
		return errDelay
	}
	*d = Delay(span)
	return nil
}

func (d Delay) String() string {
	if d == Never {
		return "off"
	}
	return time.Duration(d).String()
}

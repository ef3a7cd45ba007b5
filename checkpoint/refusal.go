// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
)

// Reason is why a server refuses a stream. Its number is part of the wire
// format.
type Reason uint8

// The reasons. A new one goes at the end.
const (
	ReasonForged         Reason = iota + 1 // the checkpoint does not open under its key
	ReasonTruncated                        // it is shorter than it says, or than any can be
	ReasonExpired                          // its lifetime is over
	ReasonForeignService                   // it, or the stream, is meant for another service
	ReasonForeignStream                    // it was made for another stream
	ReasonUnknownKey                       // no key of that id here
	ReasonTooLarge                         // larger than this server accepts
	ReasonVersion                          // the peer speaks another version
	ReasonReplayed                         // a once-only service: already resumed from this one or a later one
	ReasonState                            // the application can not restore the state
	ReasonApplication                      // the application ended the stream with an error
	ReasonProtocol                         // the peer broke the protocol
	ReasonBusy                             // try later, or another server
)

var reasonNames = map[Reason]string{
	ReasonForged:         "forged",
	ReasonTruncated:      "truncated",
	ReasonExpired:        "expired",
	ReasonForeignService: "foreign-service",
	ReasonForeignStream:  "foreign-stream",
	ReasonUnknownKey:     "unknown-key",
	ReasonTooLarge:       "too-large",
	ReasonVersion:        "version",
	ReasonReplayed:       "replayed",
	ReasonState:          "state",
	ReasonApplication:    "application",
	ReasonProtocol:       "protocol",
	ReasonBusy:           "busy",
}

// String returns the word that stands for r in errors, logs and metrics.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// Refusal is a server's named no. The client's calls return it, wrapped; test
// for a reason with errors.Is(err, checkpoint.ErrExpired).
//
// A Handler may return one to end its stream with it.
type Refusal struct {
	Reason Reason
	Detail string // for people; at most 255 bytes reach the client
}

// Error returns the reason and the detail.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "stream refused: " + r.Reason.String()
	}
	return "stream refused: " + r.Reason.String() + ": " + r.Detail
}

// Is reports whether target is a Refusal with the same reason.
func (r *Refusal) Is(target error) bool {
	other, ok := target.(*Refusal)
	return ok && other.Reason == r.Reason
}

// Refusals to compare with by errors.Is, one per reason.
var (
	ErrForged         = &Refusal{Reason: ReasonForged}
	ErrTruncated      = &Refusal{Reason: ReasonTruncated}
	ErrExpired        = &Refusal{Reason: ReasonExpired}
	ErrForeignService = &Refusal{Reason: ReasonForeignService}
	ErrForeignStream  = &Refusal{Reason: ReasonForeignStream}
	ErrUnknownKey     = &Refusal{Reason: ReasonUnknownKey}
	ErrTooLarge       = &Refusal{Reason: ReasonTooLarge}
	ErrVersion        = &Refusal{Reason: ReasonVersion}
	ErrReplayed       = &Refusal{Reason: ReasonReplayed}
	ErrState          = &Refusal{Reason: ReasonState}
	ErrApplication    = &Refusal{Reason: ReasonApplication}
	ErrProtocol       = &Refusal{Reason: ReasonProtocol}
	ErrBusy           = &Refusal{Reason: ReasonBusy}
)

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// asRefusal returns the refusal within err, or one that says that the
// application failed.
func asRefusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse(ReasonApplication, "%v", err)
}

// maxUnknownKeyTries is how often a client tries again after unknown-key: a
// key may reach one server a moment later than another.
const maxUnknownKeyTries = 3

// retryable reports whether another attempt may have another outcome.
func (r *Refusal) retryable(attempt int) bool {
	switch r.Reason {
	case ReasonBusy:
		return true
	case ReasonUnknownKey:
		return attempt < maxUnknownKeyTries
	}
	return false
}

// encode returns the payload of a refusal frame: reason, then the detail.
func (r *Refusal) encode() []byte {
	detail := r.Detail
	if len(detail) > maxRefusalDetail {
		detail = detail[:maxRefusalDetail]
	}
	return append([]byte{byte(r.Reason)}, detail...)
}

func parseRefusal(p []byte) (*Refusal, error) {
	if len(p) == 0 {
		return nil, refuse(ReasonProtocol, "empty refusal")
	}
	return &Refusal{Reason: Reason(p[0]), Detail: printable(p[1:])}, nil
}

// printable keeps a foreign text from steering a terminal.
func printable(p []byte) string {
	out := make([]rune, 0, len(p))
	for _, r := range string(p) {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}

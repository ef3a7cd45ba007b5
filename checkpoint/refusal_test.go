// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRefusalsReachTheClient has servers refuse for each reason that a client
// can meet, and the client's calls return it by name.
func TestRefusalsReachTheClient(t *testing.T) {
	ring := NewKeyRing(GenerateKey())
	expired := newSealer("test", ring, -time.Hour)
	foreign := newSealer("test", NewKeyRing(GenerateKey()), time.Hour)
	mine := newSealer("test", ring, time.Hour)
	forged := func(id StreamID) []byte {
		b := mine.seal(nil, id, 9, Position{}, []byte("1"), time.Now())
		b[len(b)-1] ^= 1
		return b
	}
	seal := func(s sealer, state string) func(StreamID) []byte {
		return func(id StreamID) []byte { return s.seal(nil, id, 9, Position{}, []byte(state), time.Now()) }
	}
	cases := []struct {
		name  string
		token func(StreamID) []byte
		want  error
	}{
		{"expired", seal(expired, "1"), ErrExpired},
		{"unknown key", seal(foreign, "1"), ErrUnknownKey},
		{"forged", forged, ErrForged},
		{"another service", seal(newSealer("other", ring, time.Hour), "1"), ErrForeignService},
		{"another stream", func(StreamID) []byte { return seal(mine, "1")(StreamID{7}) }, ErrForeignStream},
		{"truncated", func(id StreamID) []byte { return seal(mine, "1")(id)[:50] }, ErrTruncated},
		{"too large", seal(mine, strings.Repeat("x", 2000)), ErrTooLarge},
		{"the application can not", seal(mine, "unreadable"), ErrState},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newTestWorld(t, func(_ context.Context, s *Session) error {
				if state, resumed := s.Restore(); resumed && string(state) != "1" {
					return refuse(ReasonState, "not a number")
				}
				_, err := s.Write([]byte("x"))
				if err != nil {
					return err
				}
				_, err = s.Read(make([]byte, 1))
				return err
			}, ServerOptions{MaxState: 1000})
			for _, srv := range w.servers {
				srv.sealer.keys = ring
			}
			s := dialWorld(t, w, nil)
			expectLine(t, s, "x")
			s.mu.Lock()
			s.recv.token = c.token(s.recv.stream)
			s.mu.Unlock()
			lose(s)
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, c.want) {
				t.Errorf("read: %v, want %v", err, c.want)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, c.want) {
				t.Errorf("write: %v, want %v", err, c.want)
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	w := newTestWorld(t, echoApp, ServerOptions{})
	opts := w.options()
	opts.Service = "another"
	if _, err := Dial(context.Background(), "", opts); !errors.Is(err, ErrForeignService) {
		t.Errorf("error %v, want %v", err, ErrForeignService)
	}
}

func TestHandlerErrorsEndTheStream(t *testing.T) {
	cases := []struct {
		name string
		app  HandlerFunc
		want error
		text string
	}{
		{"error", func(context.Context, *Session) error { return errors.New("no such room\x1b[2J") }, ErrApplication, "no such room [2J"},
		{"refusal", func(context.Context, *Session) error { return refuse(ReasonState, "gone") }, ErrState, "gone"},
		{"panic", func(context.Context, *Session) error { panic("oops") }, ErrApplication, "panicked"},
		{"unexpected input frame", func(_ context.Context, s *Session) error {
			s.raw.Reset(bytes.NewReader([]byte{byte(frameHello), 0, 0, 0, 0}))
			_, err := s.Read(make([]byte, 1))
			return err
		}, ErrProtocol, "kind 1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := dialWorld(t, newTestWorld(t, c.app, ServerOptions{}), nil)
			_, err := s.Read(make([]byte, 1))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
			if s.Stats().Resumes != 0 {
				t.Error("a stream that was ended by its server was resumed")
			}
		})
	}
}

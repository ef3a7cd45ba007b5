// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	of "github.com/contiv/libOpenflow/openflow13"
)

// obedient is a switch that does what it is told, and counts flow mods.
type obedient struct {
	*peer
	flowMods atomic.Int32
	slave    atomic.Bool // refuses flow mods
	ended    chan struct{}
}

// newObedient gives a switch and a session that has claimed it.
func newObedient(t *testing.T) (*obedient, *Session) {
	t.Helper()
	l, _ := listen(t, time.Minute)
	p, s := newPeer(t, l)
	sw := &obedient{peer: p, ended: make(chan struct{})}
	go sw.obey()
	t.Cleanup(func() { _ = p.Close(); <-sw.ended })
	if err := s.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return sw, s
}

func (sw *obedient) obey() {
	defer close(sw.ended)
	for {
		m, err := readMessage(sw)
		if err != nil {
			return
		}
		reply := rawMessage(m.kind+1, m.xid, m.body) // as echo, barrier and role have it
		if m.kind == of.Type_FlowMod {
			sw.flowMods.Add(1)
			if !sw.slave.Load() {
				continue
			}
			reply = rawMessage(of.Type_Error, m.xid, []byte{0, of.ET_BAD_REQUEST, 0, of.BRC_IS_SLAVE})
		}
		if _, err := sw.Write(reply); err != nil {
			return
		}
	}
}

// control plays the control socket of an ovs-vswitchd: it gives one answer to
// each question, and none if the answer is empty. It counts the questions.
func control(t *testing.T, socket, answer string) *atomic.Int32 {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := &atomic.Int32{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			questions := json.NewDecoder(conn)
			for {
				var question struct {
					Method string
					Params []string
					ID     *int
				}
				if questions.Decode(&question) != nil {
					break
				}
				if question.Method == "revalidator/wait" && question.Params != nil && question.ID != nil {
					asked.Add(1)
				}
				_, _ = conn.Write([]byte(answer))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	return asked
}

// TestSettle: a switch that can be asked tells, after so many revalidations; any
// other is waited for.
func TestSettle(t *testing.T) {
	const done, several = `{"id":0,"result":"","error":null}`, `{"id":0,"result":null,"error":"can't wait on multiple udpifs.\n"}`
	for _, tt := range []struct {
		name   string
		answer string // "-": no socket
		ovsdb  func(dir string) string
		wait   time.Duration
		asked  int32
	}{
		{"it tells", done, func(dir string) string { return "unix:" + dir + "/db.sock" }, time.Hour, settleRounds},
		{"it has several datapaths", several, func(dir string) string { return "unix:" + dir + "/db.sock" }, time.Millisecond, 1},
		{"it speaks something else", "HTTP/1.1 400 Bad Request\r\n\r\n", func(dir string) string { return "unix:" + dir + "/db.sock" }, time.Millisecond, 1},
		{"on another machine", done, func(string) string { return "tcp:192.0.2.1:6640" }, time.Millisecond, 0},
		{"not beside its database", "-", func(dir string) string { return "unix:" + dir + "/db.sock" }, time.Millisecond, 0},
		{"address not known", done, func(string) string { return "" }, time.Millisecond, 0},
		{"a folder like a pattern", done, func(dir string) string { return "unix:" + dir + "/[/db.sock" }, time.Millisecond, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			asked := &atomic.Int32{}
			if tt.answer != "-" {
				asked = control(t, filepath.Join(dir, "ovs-vswitchd.17.ctl"), tt.answer)
			}
			// One that died leaves its socket.
			dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "ovs-vswitchd.16.ctl")})
			if err != nil {
				t.Fatal(err)
			}
			dead.SetUnlinkOnClose(false)
			_ = dead.Close()

			sw, s := newObedient(t)
			if err := s.Settle(t.Context(), tt.ovsdb(dir), tt.wait); err != nil {
				t.Fatal(err)
			}
			if asked.Load() != tt.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), tt.asked)
			}
			mods := tt.asked
			if tt.asked < settleRounds {
				mods += settleRounds
			}
			if got := sw.flowMods.Load(); got != mods {
				t.Errorf("%d flow mods, want %d", got, mods)
			}
		})
	}
}

// TestSettleFails: what can't be known to be settled is an error.
func TestSettleFails(t *testing.T) {
	unasked := "tcp:192.0.2.1:6640"
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, sw *obedient, s *Session, cancel func()) (ovsdb string)
		want  error
	}{
		{"not claimed", func(_ *testing.T, _ *obedient, s *Session, _ func()) string {
			s.setMaster(false, 0)
			return unasked
		}, ErrNotMaster},
		{"claimed by another since", func(_ *testing.T, sw *obedient, _ *Session, _ func()) string {
			sw.slave.Store(true)
			return unasked
		}, ErrNotMaster},
		{"context ends during the wait", func(_ *testing.T, sw *obedient, _ *Session, cancel func()) string {
			go func() { untilTouched(sw); cancel() }()
			return unasked
		}, context.Canceled},
		{"session ends during the wait", func(_ *testing.T, sw *obedient, s *Session, _ func()) string {
			go func() { untilTouched(sw); _ = s.Close() }()
			return unasked
		}, ErrClosed},
		{"context ends, no answer", func(t *testing.T, _ *obedient, _ *Session, cancel func()) string {
			dir := t.TempDir()
			asked := control(t, filepath.Join(dir, "ovs-vswitchd.ctl"), "")
			go func() {
				for asked.Load() == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			return "unix:" + dir + "/db.sock"
		}, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw, s := newObedient(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ovsdb := tt.spoil(t, sw, s, cancel)
			if err := s.Settle(ctx, ovsdb, time.Hour); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// untilTouched waits for the first flow mod.
func untilTouched(sw *obedient) {
	for sw.flowMods.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
}

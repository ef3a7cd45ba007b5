// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSilent is why a connection is given up that was not closed: the server
// sent nothing, not even a heartbeat, for as long as Options.Silence.
var ErrSilent = errors.New("checkpoint: server is silent")

// link is one connection of a client's stream, after accept.
type link struct {
	conn    net.Conn
	silence time.Duration

	// Reading; by who holds the stream's pump.
	br      *bufio.Reader
	head    header
	inFrame bool   // head is of a frame that is not read to its end
	left    int    // payload bytes of it to come
	payload []byte // of a control frame, as far as it came

	heard atomic.Int64 // Unix nanoseconds of the last byte from the server

	// Writing; by who holds the stream's pen.
	sent    uint64 // offset of the input after the last byte put into pending
	pending []byte // rest of a frame that is partly written
	scratch []byte
	endSent bool

	mu       sync.Mutex // guards deadlines
	armed    time.Time  // when the read deadline was set; zero = set it anew
	readBy   time.Time  // the application's read deadline; zero = none
	writeBy  time.Time
	writeArm time.Time
}

// linkBuffer: payloads larger than it are read past it.
const linkBuffer = 4 << 10

func newLink(conn net.Conn, silence time.Duration) *link {
	l := &link{conn: conn, silence: silence}
	l.br = bufio.NewReaderSize((*linkReader)(l), linkBuffer)
	l.heard.Store(time.Now().UnixNano())
	return l
}

// linkReader is the link as the source of its buffer: it sees to deadlines.
type linkReader link

// Read returns ErrSilent when the server is taken for dead, and
// os.ErrDeadlineExceeded when only the application's deadline is over.
func (l *linkReader) Read(p []byte) (int, error) {
	for {
		if err := (*link)(l).armRead(time.Now()); err != nil {
			return 0, err
		}
		n, err := l.conn.Read(p)
		if n > 0 {
			l.heard.Store(time.Now().UnixNano())
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if quiet := (*link)(l).quiet(); quiet >= l.silence {
			return 0, fmt.Errorf("%w for %s", ErrSilent, quiet.Round(time.Millisecond))
		}
		l.mu.Lock()
		l.armed = time.Time{}
		l.mu.Unlock()
	}
}

// quiet is how long nothing was heard, as of now.
func (l *link) quiet() time.Duration { return time.Since(time.Unix(0, l.heard.Load())) }

// armRead sets the connection's read deadline to the end of the silence or the
// application's deadline, whatever comes first. Setting it costs; it is renewed
// only when an eighth of the silence is over, and hearing starts with the call:
// what lies unread in the kernel counts as heard now.
func (l *link) armRead(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.readBy.IsZero() && !now.Before(l.readBy) {
		return os.ErrDeadlineExceeded
	}
	if now.Sub(l.armed) < l.silence/8 {
		return nil
	}
	l.armed = now
	deadline := now.Add(l.silence)
	if !l.readBy.IsZero() && l.readBy.Before(deadline) {
		deadline = l.readBy
	}
	return l.conn.SetReadDeadline(deadline)
}

// setReadBy sets the application's read deadline, for a read in progress too.
func (l *link) setReadBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readBy, l.armed = t, time.Time{}
	l.conn.SetReadDeadline(longAgo) // wakes the read, which arms anew
}

// setWriteBy is setReadBy for writes.
func (l *link) setWriteBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writeBy, l.writeArm = t, time.Time{}
	l.conn.SetWriteDeadline(longAgo)
}

// write writes what is pending. It returns os.ErrDeadlineExceeded when the
// application's deadline is to be kept and over, errStuck when the kernel took nothing for
// the time of silence; pending is then what remains.
func (l *link) write(keep bool) error {
	for len(l.pending) > 0 {
		now := time.Now()
		if err := l.armWrite(now, keep); err != nil {
			return err
		}
		n, err := l.conn.Write(l.pending)
		l.pending = l.pending[n:]
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err != nil {
				return err
			}
			continue
		}
		if n == 0 && time.Since(now) >= l.silence {
			return errStuck
		}
		l.mu.Lock()
		l.writeArm = time.Time{}
		l.mu.Unlock()
	}
	return nil
}

var errStuck = errors.New("checkpoint: server takes no input")

func (l *link) armWrite(now time.Time, keep bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep = keep && !l.writeBy.IsZero()
	if keep && !now.Before(l.writeBy) {
		return os.ErrDeadlineExceeded
	}
	if now.Sub(l.writeArm) < l.silence/8 {
		return nil
	}
	l.writeArm = now
	deadline := now.Add(l.silence + l.silence/8) // whenever the write starts it has all of the silence
	if keep && l.writeBy.Before(deadline) {
		deadline = l.writeBy
	}
	return l.conn.SetWriteDeadline(deadline)
}

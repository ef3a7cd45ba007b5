// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
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
	long    bool   // the newest data frame is, or was

	heard   time.Time // when the last byte came; eager reads leave it behind
	flow    int       // bytes since the server last kept us waiting
	eager   *eager    // nil if conn can not
	isEager bool

	// Writing; by who holds the stream's pen.
	sent    uint64 // offset of the input after the last byte put into pending
	pending []byte // rest of a frame that is partly written
	scratch []byte
	endSent bool

	mu       sync.Mutex // guards deadlines
	writing  bool
	armed    time.Time // when the read deadline was set; zero = set it anew
	readBy   time.Time // the application's read deadline; zero = none
	writeBy  time.Time
	writeArm time.Time
}

// linkBuffer: payloads larger than it are read past it.
const linkBuffer = 4 << 10

// longFrame is a payload beside which two more system calls are nothing.
const longFrame = 512 << 10

func newLink(conn net.Conn, silence time.Duration) *link {
	l := &link{conn: conn, silence: silence}
	l.br = bufio.NewReaderSize((*linkReader)(l), linkBuffer)
	l.heard = time.Now()
	l.eager = newEager(conn)
	return l
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
	defer l.setWriting(l.setWriting(true))
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

// setWriting returns what was before.
func (l *link) setWriting(now bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.writing
	l.writing = now
	return before
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

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

// linkReader is the link as the source of its buffer: it sees to deadlines.
type linkReader link

// Read returns ErrSilent when the server is taken for dead, and
// os.ErrDeadlineExceeded when only the application's deadline is over.
func (l *linkReader) Read(p []byte) (int, error) {
	if l.isEager && (*link)(l).disarm() {
		n, err := (*link)(l).readEagerly(p)
		if err != errQuiet {
			return n, err
		}
	}
	(*link)(l).calm()
	return (*link)(l).readPatiently(p)
}

// readEagerly does not read beyond a header, or the rest of its payload, where
// frames are long: so the pages that the kernel sends as a frame's data begin at
// the beginning of the application's memory. Out of step, copying is slower.
func (l *link) readEagerly(p []byte) (int, error) {
	switch {
	case !l.long:
		return l.eager.read(p, 1)
	case !l.inFrame:
		return l.eager.read(p[:min(len(p), headerSize)], headerSize)
	}
	return l.eager.read(p[:min(len(p), l.left)], l.left)
}

// errQuiet: nothing came within eagerWait, or nobody may wait for it so.
var errQuiet = errors.New("checkpoint: nothing to read")

// readPatiently reads under deadlines.
func (l *link) readPatiently(p []byte) (int, error) {
	called := time.Now()
	for from := called; ; from = later(l.heard, called) {
		start := time.Now()
		if err := l.armRead(start, from); err != nil {
			return 0, err
		}
		n, err := l.conn.Read(p)
		if n > 0 {
			l.heard = time.Now()
			l.flowed(n, l.heard.Sub(start))
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if quiet := time.Since(l.heard); quiet >= l.silence {
			return 0, fmt.Errorf("%w for %s", ErrSilent, quiet.Round(time.Millisecond))
		}
		l.mu.Lock()
		l.armed = time.Time{}
		l.mu.Unlock()
	}
}

// eagerFlow is how much must come without a pause before reads are eager: more
// than a paced server sends at a time.
const eagerFlow = 1 << 20

// flowed counts what came after such a wait.
func (l *link) flowed(n int, wait time.Duration) {
	if wait >= eagerWait {
		l.flow = 0
	}
	l.flow += n
	l.isEager = l.eager != nil && l.flow >= eagerFlow
}

// calm ends eager reads, until enough flows again.
func (l *link) calm() {
	if l.isEager {
		l.isEager, l.flow, l.heard = false, 0, time.Now() // it was heard at the last read
		l.eager.rest()
	}
}

// disarm takes the deadlines from the connection, for an eager read, and
// reports whether it may: the application's stay.
func (l *link) disarm() bool {
	may, had := l.clearDeadlines()
	if had {
		runtime.Gosched() // it forgets a stopped timer when this processor looks for work
	}
	return may
}

func (l *link) clearDeadlines() (may, had bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.readBy.IsZero() {
		return false, false
	}
	if !l.armed.IsZero() {
		had, l.armed = true, time.Time{}
		l.conn.SetReadDeadline(time.Time{}) // fails if closed, as will the read
	}
	if !l.writeArm.IsZero() && !l.writing {
		had, l.writeArm = true, time.Time{}
		l.conn.SetWriteDeadline(time.Time{})
	}
	return true, had
}

// armRead sets the connection's read deadline to the end of the silence or the
// application's deadline, whatever comes first. Setting it costs; it is renewed
// only when an eighth of the silence is over, so it may end too soon: then it is
// set again, for what remains of the silence. Hearing starts with the call: what
// lies unread in the kernel counts as heard now.
func (l *link) armRead(now, from time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.readBy.IsZero() && !now.Before(l.readBy) {
		return os.ErrDeadlineExceeded
	}
	if now.Sub(l.armed) < l.silence/8 {
		return nil
	}
	l.armed = now
	deadline := from.Add(l.silence)
	if !l.readBy.IsZero() && l.readBy.Before(deadline) {
		deadline = l.readBy
	}
	return l.conn.SetReadDeadline(deadline)
}

// later gives the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// setReadBy sets the application's read deadline, for a read in progress too.
func (l *link) setReadBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readBy, l.armed = t, time.Time{}
	l.conn.SetReadDeadline(longAgo) // wakes the read, which arms anew
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// eager reads a TCP connection on which much arrives. It waits in poll(2), not
// in the runtime's poller under a deadline: while a deadline, or any timer, is
// set, the runtime keeps a thread in its poller, which all that arrives wakes
// for nothing; that costs a fast download some percent. And it waits for much
// at a time.
type eager struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // made once, for raw.Read
	low int                   // SO_RCVLOWAT of the connection

	// Of one call.
	buf   []byte
	ahead int
	n     int
	err   error
}

const (
	// eagerWait is short, since a thread waits, and with it a Close, or a
	// deadline that the application sets.
	eagerWait = 5 * time.Millisecond
	// eagerLow is what a wait is for, or all that is to come if that is less: to
	// put a thread to sleep and to wake it costs as much as to copy tens of
	// kilobytes.
	eagerLow = 512 << 10
)

// eagerWaiters counts the threads in poll(2).
var eagerWaiters atomic.Int32

// newEager returns nil if conn is not TCP.
func newEager(conn net.Conn) *eager {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil // closed: reads will say so
	}
	e := &eager{raw: raw, low: 1}
	e.try = e.tryRead
	return e
}

// read is a net.Conn's Read, or errQuiet. At least ahead bytes are to come.
func (e *eager) read(p []byte, ahead int) (int, error) {
	e.buf, e.ahead, e.n, e.err = p, ahead, 0, nil
	err := e.raw.Read(e.try)
	e.buf = nil
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, errQuiet // by a deadline that the application set meanwhile, or before
	case err != nil:
		return 0, err
	case e.n == 0 && e.err == nil:
		return 0, io.EOF
	}
	return e.n, e.err
}

// tryRead always says that it is done: nothing is left to the runtime's poller.
func (e *eager) tryRead(fd uintptr) bool {
	for waited := false; ; {
		n, err := syscall.Read(int(fd), e.buf)
		switch {
		case err == nil:
			e.n = n
			return true
		case err == syscall.EAGAIN && !waited:
			waited = e.wait(int(fd))
			if !waited {
				e.err = errQuiet
				return true
			}
		case err == syscall.EAGAIN:
			e.err = errQuiet
			return true
		case err != syscall.EINTR:
			e.err = err
			return true
		}
	}
}

// wait waits until there is something to read, or eagerWait is over. It
// returns false at once when as many threads wait so as there are processors:
// there could be one for each stream.
func (e *eager) wait(fd int) bool {
	defer eagerWaiters.Add(-1)
	if int(eagerWaiters.Add(1)) > runtime.NumCPU() {
		return false
	}
	e.setLow(fd, min(e.ahead, eagerLow))
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, int(eagerWait.Milliseconds())) // whatever it says, the caller reads
	return true
}

func (e *eager) setLow(fd, low int) {
	if e.low != low && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, low) == nil {
		e.low = low
	}
}

// rest makes the connection one for the runtime's poller, which is to see each
// byte.
func (e *eager) rest() {
	if e.low != 1 {
		_ = e.raw.Control(func(fd uintptr) { e.setLow(int(fd), 1) }) // fails when closed
	}
}

// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"io"
	"net"
	"os"
)

// fileLength returns how many bytes sendFile can send of r at once, and
// whether it can at all.
func (s *Session) fileLength(r io.Reader) (int64, bool) {
	if _, ok := s.conn.(*net.TCPConn); !ok {
		return 0, false
	}
	limit := int64(maxFrame)
	if l, ok := r.(*io.LimitedReader); ok {
		limit, r = min(limit, l.N), l.R
	}
	f, ok := r.(*os.File)
	if !ok {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, false
	}
	return max(min(limit, info.Size()-at), 0), true
}

// sendFile sends frames of n and further bytes of r, a file, until its end.
func (s *Session) sendFile(r io.Reader, n int64) (int64, error) {
	var sent int64
	for n > 0 {
		if err := s.sendFilePart(r, n); err != nil {
			return sent, err
		}
		sent += n
		if l, ok := r.(*io.LimitedReader); ok && l.N == 0 {
			break // the usual case: no need to ask the file
		}
		n, _ = s.fileLength(r)
	}
	return sent, nil
}

func (s *Session) sendFilePart(r io.Reader, n int64) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if err := s.roomFor(int(n)); err != nil {
		return err
	}
	if err := s.arm(); err != nil {
		return err
	}
	if err := writeMore(s.conn, s.head(header{frameData, int(n)})); err != nil {
		return s.broken(err)
	}
	sent, err := copyFile(s.conn, r, n)
	if err == nil && sent < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		// Half a frame is out. If the file shrank, the next server will say so.
		return s.broken(fmt.Errorf("send file: %w", err))
	}
	s.out += uint64(n)
	return s.wrote(nil)
}

// copyFile copies n bytes. The kernel is used only if the file is at most one
// io.LimitedReader away.
func copyFile(w io.Writer, r io.Reader, n int64) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if !ok {
		return io.CopyN(w, r, n)
	}
	sent, err := io.CopyN(w, l.R, n)
	l.N -= sent
	return sent, err
}

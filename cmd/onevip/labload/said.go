// SPDX-License-Identifier: Apache-2.0

package labload

import (
	"bytes"
	"strings"
	"sync"
)

// Said keeps what a command says, and tells when it has said a line.
type Said struct {
	Seen chan struct{} // closed at that line

	line string
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
	once sync.Once
}

// NewSaid waits for a line.
func NewSaid(line string) *Said { return &Said{line: line, Seen: make(chan struct{})} }

func (s *Said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(p)
	if strings.Contains("\n"+s.text.String(), "\n"+s.line+"\n") {
		s.once.Do(func() { close(s.Seen) })
	}
	return n, err
}

// Text is what was said so far.
func (s *Said) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(s.text.String())
}

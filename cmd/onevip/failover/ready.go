// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"bytes"
	"strings"
	"sync"
)

// ReadyLine is what the load says on stderr once its streams are open.
const ReadyLine = "ready"

// readyWriter keeps what a command says, and tells when it is ready.
type readyWriter struct {
	seen chan struct{} // closed at the ready line

	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
	once sync.Once
}

func newReadyWriter() *readyWriter { return &readyWriter{seen: make(chan struct{})} }

func (w *readyWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.said.Write(p)
	if strings.Contains("\n"+w.said.String(), "\n"+ReadyLine+"\n") {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

func (w *readyWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(w.said.String())
}

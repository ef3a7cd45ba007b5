// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"net/http"

	"github.com/onevip/onevip/labs/workload"
)

// body is the content of a file as far as it came from the disk.
type body struct {
	*workload.Content
	ctx  context.Context // of the request
	held *held           // set when the answer begins
	at   int64
}

// Read gives what is there, and waits if nothing is.
func (b *body) Read(p []byte) (int, error) {
	if b.at < b.held.file.Bytes {
		have, err := b.held.await(b.ctx, b.at)
		if err != nil {
			return 0, err
		}
		p = p[:min(int64(len(p)), have-b.at)]
	}
	n, err := b.Content.Read(p)
	b.at += int64(n)
	return n, err
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	at, err := b.Content.Seek(offset, whence)
	b.at = at
	return at, err
}

// answer calls begin once it is known that content will be sent, and not, say,
// 304; it may still set headers.
type answer struct {
	http.ResponseWriter
	begin  func()
	origin *Origin // counts
}

func (a answer) WriteHeader(code int) {
	switch code {
	case http.StatusOK, http.StatusPartialContent:
		a.begin()
	case http.StatusNotModified:
		a.origin.notModified.Add(1)
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a answer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.origin.sent.Add(int64(n))
	return n, err
}

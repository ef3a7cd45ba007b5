// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"io"
	"net/http"
	"strconv"
)

// servePlain serves an ordinary HTTP client.
func (s *Server) servePlain(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD here", http.StatusMethodNotAllowed)
		return
	}
	name := fileName(r.URL.Path)
	if live, ok := s.opts.Live[name]; ok {
		s.plainLive(w, r, live)
		return
	}
	f, err := s.open(name)
	if err != nil {
		head, body := s.noFile(name, err)
		w.Header().Set("Content-Type", head.contentType)
		w.WriteHeader(head.status)
		w.Write(body)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", contentType(name))
	w.Header().Set("ETag", f.etag())
	p := s.pacer(f)
	if p == nil {
		http.ServeContent(w, r, name, f.modified, f.File) // the kernel moves the bytes
		return
	}
	http.ServeContent(&pacedWriter{ResponseWriter: w, ctx: r.Context(), pacer: p}, r, name, f.modified, f.File)
}

// pacedWriter waits before it writes.
type pacedWriter struct {
	http.ResponseWriter
	ctx   context.Context
	pacer *pacer
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), w.pacer.most)
		if err := w.pacer.wait(w.ctx, n); err != nil {
			return written, err
		}
		m, err := w.ResponseWriter.Write(p[:n])
		written += m
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// Headers by which a server that takes a live source from another one says
// where it wants to begin, and learns where it does.
const (
	positionHeader = "Onevip-Position" // request: a number, or "oldest"
	epochHeader    = "Onevip-Epoch"
)

func (s *Server) plainLive(w http.ResponseWriter, r *http.Request, live *Live) {
	epoch, at, err := live.begin(r.Context(), s.opts.Pace.Backlog)
	if err != nil {
		http.Error(w, "no live data yet", http.StatusServiceUnavailable)
		return
	}
	at = wanted(r, epoch, at, live.oldest())
	w.Header().Set("Content-Type", "video/mp2t")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(epochHeader, epoch)
	w.Header().Set(positionHeader, strconv.FormatUint(at, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	buf := make([]byte, liveChunk)
	for {
		n, err := live.read(r.Context(), buf, epoch, at)
		if err != nil {
			abortUnless(err, io.EOF)
			return
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		at += uint64(n)
	}
}

// abortUnless ends the response without its proper end.
func abortUnless(err, good error) {
	if err != good {
		panic(http.ErrAbortHandler)
	}
}

// wanted is where a server asks to begin, if it can be had in this epoch.
func wanted(r *http.Request, epoch string, at, oldest uint64) uint64 {
	want := r.Header.Get(positionHeader)
	if want == "oldest" {
		return oldest
	}
	n, err := strconv.ParseUint(want, 10, 64)
	if err != nil || r.Header.Get(epochHeader) != epoch || n < oldest {
		return at
	}
	return n
}

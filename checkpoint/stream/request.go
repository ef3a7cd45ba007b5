// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bounds on a request inside a checkpointed stream.
const maxRequest = 16 << 10

var errRequestSize = fmt.Errorf("request of more than %d bytes", maxRequest)

// readRequest reads one request without body, taking from r not a byte more.
// io.EOF means that no further one comes.
func readRequest(r *bufio.Reader) (*http.Request, error) {
	var text bytes.Buffer
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && text.Len()+len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, bufio.ErrBufferFull) || text.Len()+len(line) > maxRequest {
			return nil, errRequestSize
		}
		if err != nil {
			return nil, err
		}
		text.Write(line)
		if len(bytes.TrimRight(line, "\r\n")) == 0 && text.Len() > len(line) {
			break
		}
	}
	req, err := http.ReadRequest(bufio.NewReader(&text))
	if err != nil {
		return nil, fmt.Errorf("bad request: %w", err)
	}
	if req.ContentLength != 0 {
		return nil, errors.New("bad request: a body is not taken here")
	}
	return req, nil
}

// planned is a response that is decided on: its head, and which bytes follow.
type planned struct {
	status      int
	contentType string
	header      http.Header
	start, size int64  // of the file
	body        []byte // instead of the file: what is wrong
}

// planFile lets net/http decide what of f the request gets: ranges,
// conditions, HEAD. Only what would take several parts is served whole.
func planFile(req *http.Request, f *media) planned {
	if strings.Contains(req.Header.Get("Range"), ",") {
		req.Header.Del("Range")
	}
	w := &planWriter{header: http.Header{}}
	w.header.Set("Content-Type", contentType(f.name))
	w.header.Set("ETag", f.etag())
	place := &placeSeeker{size: f.size}
	http.ServeContent(w, req, f.name, f.modified, place)
	p := planned{status: w.status, header: w.header, start: place.at}
	switch {
	case place.read:
		p.size = contentLength(w.header, f.size)
	case p.status >= http.StatusBadRequest:
		p.body = w.body.Bytes()
		p.header.Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	return p
}

func contentLength(h http.Header, otherwise int64) int64 {
	var n int64
	if _, err := fmt.Sscan(h.Get("Content-Length"), &n); err != nil {
		return otherwise
	}
	return n
}

// planWriter catches a response's head, and the few words of an error.
type planWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *planWriter) Header() http.Header         { return w.header }
func (w *planWriter) WriteHeader(status int)      { w.status = status }
func (w *planWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// placeSeeker stands for the file: it notes from where the body would be read.
type placeSeeker struct {
	size, at int64
	read     bool
}

func (p *placeSeeker) Read([]byte) (int, error) {
	p.read = true
	return 0, io.EOF
}

func (p *placeSeeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	p.at = offset
	return offset, nil
}

// renderHead writes status line and header as they go out.
func renderHead(status int, h http.Header, keep bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if !keep {
		h.Set("Connection", "close")
	}
	_ = h.Write(&b) // to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// maxIndex bounds a directory's listing: it travels in a checkpoint.
const maxIndex = 8 << 10

// noFile is the answer when name is not a file: a directory's listing, or what
// is wrong.
func (s *Server) noFile(name string, err error) (planned, []byte) {
	if body, ok := s.index(name); ok {
		return planned{status: http.StatusOK, contentType: "text/html; charset=utf-8"}, body
	}
	if notFound(err) {
		return planned{status: http.StatusNotFound, contentType: "text/plain; charset=utf-8"}, []byte("no such file here\n")
	}
	s.opts.Logger.Warn("open failed", "file", name, "err", err)
	return planned{status: http.StatusInternalServerError, contentType: "text/plain; charset=utf-8"}, []byte("can not read that file\n")
}

// index lists a directory.
func (s *Server) index(name string) ([]byte, bool) {
	dir, err := s.root.Open(name)
	if err != nil {
		return nil, false
	}
	defer dir.Close()
	var b bytes.Buffer
	if name == "." {
		for live := range s.opts.Live {
			fmt.Fprintf(&b, "<a href=\"/%s\">%s</a> (live)<br>\n", url.PathEscape(live), html.EscapeString(live))
		}
	}
	entries, err := dir.ReadDir(200)
	if err != nil && err != io.EOF {
		return nil, false
	}
	for _, e := range entries {
		shown := e.Name()
		if e.IsDir() {
			shown += "/"
		}
		line := fmt.Sprintf("<a href=\"%s\">%s</a><br>\n", (&url.URL{Path: "./" + shown}).String(), html.EscapeString(shown))
		if b.Len()+len(line) > maxIndex {
			break
		}
		b.WriteString(line)
	}
	return b.Bytes(), true
}

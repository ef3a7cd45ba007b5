// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/onevip/onevip/checkpoint"
)

// place is the state of an HTTP conversation: between two requests (the zero
// value), or within a response. JSON keeps it readable across versions of this
// program, and short.
type place struct {
	File  string `json:"f,omitempty"` // what is sent; "" = nothing beyond Head
	Live  string `json:"l,omitempty"` // or the live source
	Tag   string `json:"t,omitempty"` // the file's etag, or the source's epoch
	At    int64  `json:"a,omitempty"` // next byte to send
	End   int64  `json:"e,omitempty"` // after the last one, of a file
	Head  []byte `json:"h,omitempty"` // not sent yet: the same again at another server
	Close bool   `json:"c,omitempty"` // no further request
	Busy  bool   `json:"b,omitempty"` // within a response
}

func (p place) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // plain fields only
	}
	return b
}

// converse serves HTTP requests one after the other: the checkpoint.Handler.
func (s *Server) converse(ctx context.Context, sess *checkpoint.Session) error {
	var p place
	if state, resumed := sess.Restore(); resumed {
		if err := json.Unmarshal(state, &p); err != nil {
			return &checkpoint.Refusal{Reason: checkpoint.ReasonState, Detail: err.Error()}
		}
	}
	for {
		if !p.Busy {
			next, err := s.nextResponse(ctx, sess)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			p = next
			// Before the first byte of a response goes out its head is fixed.
			if err := sess.Checkpoint(p.encode()); err != nil {
				return err
			}
		}
		if err := s.respond(ctx, sess, &p); err != nil {
			return err
		}
		if p.Close {
			return nil
		}
		p = place{}
		if err := sess.Offer(p.encode); err != nil {
			return err
		}
	}
}

// nextResponse reads a request and decides on the answer.
func (s *Server) nextResponse(ctx context.Context, sess *checkpoint.Session) (place, error) {
	req, err := readRequest(sess.Input())
	if err == io.EOF || errors.Is(err, checkpoint.ErrClientGone) {
		return place{}, err
	}
	if err != nil {
		return textPlace(http.StatusBadRequest, "text/plain; charset=utf-8", []byte(err.Error()+"\n"), true, false), nil
	}
	head := req.Method == http.MethodHead
	if req.Method != http.MethodGet && !head {
		return textPlace(http.StatusMethodNotAllowed, "text/plain; charset=utf-8", []byte("only GET and HEAD here\n"), req.Close, false), nil
	}
	name := fileName(req.URL.Path)
	if live, ok := s.opts.Live[name]; ok {
		return s.livePlace(ctx, name, live, head)
	}
	f, err := s.open(name)
	if err != nil {
		p, body := s.noFile(name, err)
		return textPlace(p.status, p.contentType, body, req.Close, head), nil
	}
	defer f.Close()
	return filePlace(req, f), nil
}

func filePlace(req *http.Request, f *media) place {
	p := planFile(req, f)
	return place{
		File: f.name, Tag: f.etag(), At: p.start, End: p.start + p.size,
		Head: append(renderHead(p.status, p.header, !req.Close), p.body...), Close: req.Close, Busy: true,
	}
}

// textPlace answers with a short text, which travels in the head.
func textPlace(status int, contentType string, body []byte, last, headOnly bool) place {
	h := http.Header{}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	out := renderHead(status, h, !last)
	if !headOnly {
		out = append(out, body...)
	}
	return place{Head: out, Close: last, Busy: true}
}

func (s *Server) livePlace(ctx context.Context, name string, live *Live, headOnly bool) (place, error) {
	epoch, at, err := live.begin(ctx, s.opts.Pace.Backlog)
	if err != nil {
		return place{}, err
	}
	h := http.Header{}
	h.Set("Content-Type", "video/mp2t")
	h.Set("Cache-Control", "no-store")
	p := place{Live: name, Tag: epoch, At: int64(at), Close: true, Busy: true, Head: renderHead(http.StatusOK, h, false)}
	if headOnly {
		p.Live = ""
	}
	return p, nil
}

// respond sends what is left of the response at p.
func (s *Server) respond(ctx context.Context, sess *checkpoint.Session, p *place) error {
	if len(p.Head) > 0 {
		if _, err := sess.Write(p.Head); err != nil {
			return err
		}
		p.Head = nil
	}
	switch {
	case p.Live != "":
		return s.sendLive(ctx, sess, p)
	case p.File != "" && p.At < p.End:
		return s.sendFile(ctx, sess, p)
	}
	return nil
}

func lost(format string, args ...any) error {
	return &checkpoint.Refusal{Reason: checkpoint.ReasonState, Detail: fmt.Sprintf(format, args...)}
}

func (s *Server) sendFile(ctx context.Context, sess *checkpoint.Session, p *place) error {
	f, err := s.open(p.File)
	if err != nil {
		return lost("%s can not be read at this server", p.File)
	}
	defer f.Close()
	if f.etag() != p.Tag {
		return lost("%s at this server is not the file that the stream began with", p.File)
	}
	// What the client has already need not be sent again.
	if ahead := int64(min(sess.Ahead(), uint64(p.End-p.At))); ahead > 0 {
		if err := sess.Skip(uint64(ahead)); err != nil {
			return err
		}
		p.At += ahead
	}
	if _, err := f.Seek(p.At, io.SeekStart); err != nil {
		return fmt.Errorf("send %s: %w", p.File, err)
	}
	part := io.LimitedReader{R: f.File}
	for chunks := newChunker(s.pacer(f)); p.At < p.End; {
		n, err := chunks.next(ctx, p.End-p.At)
		if err != nil {
			return err
		}
		part.N = n
		if err := sendPart(sess, &part, n); err != nil {
			return err
		}
		p.At += n
		if err := sess.Offer(p.encode); err != nil {
			return err
		}
	}
	return nil
}

func sendPart(sess *checkpoint.Session, part *io.LimitedReader, n int64) error {
	sent, err := sess.ReadFrom(part)
	if err != nil {
		return err
	}
	if sent != n {
		return lost("the file became shorter while it was sent")
	}
	return nil
}

func (s *Server) sendLive(ctx context.Context, sess *checkpoint.Session, p *place) error {
	live, ok := s.opts.Live[p.Live]
	if !ok {
		return lost("no live source %q at this server", p.Live)
	}
	buf := make([]byte, liveChunk)
	for {
		n, err := live.read(ctx, buf, p.Tag, uint64(p.At))
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errLiveGone), errors.Is(err, errLiveEpoch):
			return lost("%v", err)
		case err != nil:
			return err
		}
		if _, err := sess.Write(buf[:n]); err != nil {
			return err
		}
		p.At += int64(n)
		if err := sess.Offer(p.encode); err != nil {
			return err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// stream is a long connection under way.
type stream struct {
	conn net.Conn

	mu   sync.Mutex
	said Stream // guarded by mu
	over bool   // the client ends it; guarded by mu
}

// openStreams opens all streams; all must be answered once.
func (l Load) openStreams(ctx context.Context) ([]*stream, error) {
	var streams []*stream
	for i := range l.Streams {
		s, err := l.openStream(ctx, i)
		if err != nil {
			closeAll(streams)
			return nil, fmt.Errorf("open stream %d of %d: %w", i+1, l.Streams, err)
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func (l Load) openStream(ctx context.Context, i int) (*stream, error) {
	conn, err := l.dial(ctx, i)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	node, err := ask(conn, r)
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &stream{conn: conn, said: Stream{Node: node, Talking: i%2 == 0}}
	if s.said.Talking {
		go s.talk(r)
	} else {
		go s.listen(r)
	}
	return s, nil
}

// answeredThen stands between the names of two nodes that answered on one stream.
const answeredThen = " answered, then "

// talk asks again and again; another node must never answer.
func (s *stream) talk(r *bufio.Reader) {
	for {
		node, err := ask(s.conn, r)
		if err == nil && node != s.said.Node {
			err = fmt.Errorf("%s%s%s", s.said.Node, answeredThen, node)
		}
		if err != nil {
			s.end(err)
			return
		}
		time.Sleep(askEvery)
	}
}

// listen says nothing and waits for the end.
func (s *stream) listen(r *bufio.Reader) {
	err := s.conn.SetDeadline(time.Time{})
	if err == nil {
		_, err = r.ReadByte()
	}
	s.end(err)
}

func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.said.Ended, s.said.Err = time.Now(), fmt.Sprint(err)
	}
}

// seen ends the stream and tells what became of it until now.
func (s *stream) seen() Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.said
}

func closeAll(streams []*stream) {
	for _, s := range streams {
		s.seen()
		s.conn.Close()
	}
}

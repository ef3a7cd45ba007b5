// SPDX-License-Identifier: Apache-2.0

// Chat answers each line, and tells the time when it likes. What it says can not
// be said the same again, so the client sees only what a checkpoint covers.
//
//	chat serve 127.0.0.1:9000 keys.json; chat 127.0.0.1:9000
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

// heard is a line, and the offset of the input after it.
type heard struct {
	line string
	upTo uint64
	err  error
}

// chat's state: how many lines it heard, and up to where in the input.
func chat(ctx context.Context, s *checkpoint.Session) error {
	var count, upTo uint64
	if state, resumed := s.Restore(); resumed {
		fmt.Sscan(string(state), &count, &upTo)
	}
	lines := make(chan heard)
	go listen(ctx, s, lines)
	for clock := time.Tick(time.Second); ; {
		select {
		case h := <-lines:
			if h.err == io.EOF {
				return nil
			} else if h.err != nil {
				return h.err
			}
			count, upTo = count+1, h.upTo
			fmt.Fprintf(s, "line %d is %q\n", count, h.line)
		case now := <-clock:
			fmt.Fprintln(s, "it is", now.Format(time.TimeOnly))
		}
		// The listener may be ahead of what is answered: say up to where.
		if err := s.CheckpointAt(upTo, fmt.Appendf(nil, "%d %d", count, upTo)); err != nil {
			return err
		}
	}
}

func listen(ctx context.Context, s *checkpoint.Session, lines chan<- heard) {
	for err := error(nil); err == nil; {
		var line string
		line, err = s.Input().ReadString('\n')
		select {
		case lines <- heard{line, s.Consumed(), err}:
		case <-ctx.Done():
		}
	}
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		log.Fatal(checkpoint.ListenAndServe(context.Background(), os.Args[2], "chat", os.Args[3],
			checkpoint.HandlerFunc(chat), checkpoint.ServerOptions{Delivery: checkpoint.Committed}))
	}
	s, err := checkpoint.Dial(context.Background(), os.Args[1], checkpoint.Options{Service: "chat"})
	if err == nil {
		go func() { io.Copy(s, os.Stdin); s.CloseWrite() }()
		_, err = io.Copy(os.Stdout, s)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

// Counter is the smallest checkpointed service: it counts, and goes on counting
// where its predecessor was killed.
//
//	onevip stream keygen keys.json
//	counter serve 127.0.0.1:9000 keys.json &   # kill -9 it and start it again
//	counter 127.0.0.1:9000
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/onevip/onevip/checkpoint"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = checkpoint.ListenAndServe(context.Background(), os.Args[2], "counter", os.Args[3],
			checkpoint.HandlerFunc(counter), checkpoint.ServerOptions{})
	case len(os.Args) == 2:
		err = count(os.Args[1])
	default:
		log.Fatal("usage: counter serve ADDR KEYFILE | counter ADDR")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// counter writes 1 to 100. The number is all the state there is.
func counter(_ context.Context, s *checkpoint.Session) error {
	state, _ := s.Restore()
	n, _ := strconv.Atoi(string(state)) // 0 at the beginning
	for n < 100 {
		n++
		if _, err := fmt.Fprintln(s, n); err != nil {
			return err
		}
		if err := s.Checkpoint([]byte(strconv.Itoa(n))); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func count(addr string) error {
	s, err := checkpoint.Dial(context.Background(), addr, checkpoint.Options{Service: "counter"})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.Copy(os.Stdout, s)
	return err
}

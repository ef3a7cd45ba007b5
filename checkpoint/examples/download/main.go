// SPDX-License-Identifier: Apache-2.0

// Download serves the files of a folder: the client names one, and gets it
// whole although servers die. All servers need the same files.
//
//	download serve 127.0.0.1:9000 keys.json FOLDER
//	download 127.0.0.1:9000 NAME > NAME
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/onevip/onevip/checkpoint"
)

// place is the state: which file, and how much of it is sent.
type place struct {
	Name string
	At   int64
}

func serve(addr, keyFile, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	send := func(_ context.Context, s *checkpoint.Session) error { return download(s, root) }
	return checkpoint.ListenAndServe(context.Background(), addr, "download", keyFile,
		checkpoint.HandlerFunc(send), checkpoint.ServerOptions{})
}

func download(s *checkpoint.Session, root *os.Root) error {
	var p place
	if state, resumed := s.Restore(); resumed {
		if err := json.Unmarshal(state, &p); err != nil {
			return err
		}
	} else if _, err := fmt.Fscanf(s.Input(), "%q\n", &p.Name); err != nil {
		return err
	}
	f, err := root.Open(p.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		part := io.NewSectionReader(f, p.At, 256<<10)
		n, err := s.ReadFrom(part)
		if p.At += n; n == 0 || err != nil {
			return err // nil at the end of the file: the stream is complete
		}
		if err := s.Offer(func() []byte { b, _ := json.Marshal(p); return b }); err != nil {
			return err
		}
	}
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "serve" {
		log.Fatal(serve(os.Args[2], os.Args[3], os.Args[4]))
	}
	if len(os.Args) != 3 {
		log.Fatal("usage: download serve ADDR KEYFILE FOLDER | download ADDR NAME")
	}
	s, err := checkpoint.Dial(context.Background(), os.Args[1], checkpoint.Options{Service: "download"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(s, "%q\n", os.Args[2])
	if _, err := io.Copy(os.Stdout, s); err != nil {
		log.Fatal(err)
	}
}

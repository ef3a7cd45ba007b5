// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// A stamped file consists of words of eight bytes, each its own index: in what
// arrives, a missing or repeated piece shows, and how long it is.
const stampSize = 8

func writeStamped(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the test file: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var word [stampSize]byte
	for at := int64(0); at < size; at += stampSize {
		binary.BigEndian.PutUint64(word[:], uint64(at/stampSize))
		w.Write(word[:min(stampSize, size-at)]) // Flush returns its error
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("make the test file: %w", err)
	}
	return nil
}

// stampChecker is a writer that counts what is missing and what came twice.
type stampChecker struct {
	next     uint64 // index of the word that should come
	part     []byte // of a word
	lost     int64  // bytes
	repeated int64
	total    int64
}

func (c *stampChecker) Write(p []byte) (int, error) {
	n := len(p)
	c.total += int64(n)
	if len(c.part) > 0 {
		need := min(stampSize-len(c.part), len(p))
		c.part, p = append(c.part, p[:need]...), p[need:]
		if len(c.part) < stampSize {
			return n, nil
		}
		c.word(binary.BigEndian.Uint64(c.part))
		c.part = c.part[:0]
	}
	for ; len(p) >= stampSize; p = p[stampSize:] {
		c.word(binary.BigEndian.Uint64(p))
	}
	c.part = append(c.part, p...)
	return n, nil
}

func (c *stampChecker) word(index uint64) {
	switch {
	case index > c.next:
		c.lost += int64(index-c.next) * stampSize
	case index < c.next:
		c.repeated += int64(c.next-index) * stampSize
	}
	c.next = index + 1
}

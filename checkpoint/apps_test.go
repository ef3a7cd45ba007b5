// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
)

// pattern is an endless byte sequence that each server can make from any place.
type pattern struct{ seed, at uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		x := (p.seed + p.at/8) * 0x9e3779b97f4a7c15
		x ^= x >> 29
		b[i] = byte(x >> (8 * (p.at % 8)))
		p.at++
	}
	return len(b), nil
}

// downloadApp reads "seed length chunk\n" and sends that much of a pattern.
func downloadApp(_ context.Context, s *Session) error {
	var seed, size, chunk, at uint64
	if state, resumed := s.Restore(); resumed {
		if _, err := fmt.Sscan(string(state), &seed, &size, &chunk, &at); err != nil {
			return refuse(ReasonState, "%v", err)
		}
	} else {
		line, err := s.Input().ReadString('\n')
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(line, &seed, &size, &chunk); err != nil {
			return fmt.Errorf("bad request %q: %w", line, err)
		}
	}
	buf := make([]byte, chunk)
	for at < size {
		p := pattern{seed, at}
		n, _ := p.Read(buf[:min(chunk, size-at)])
		if _, err := s.Write(buf[:n]); err != nil {
			return err
		}
		at += uint64(n)
		if err := s.Offer(func() []byte { return fmt.Appendf(nil, "%d %d %d %d", seed, size, chunk, at) }); err != nil {
			return err
		}
	}
	return nil
}

// mixer turns input into output of the same length, each byte depending on all
// before it.
type mixer struct{ sum uint64 }

func (m *mixer) mix(b []byte) {
	for i, c := range b {
		m.sum = m.sum*1099511628211 + uint64(c) + 1
		b[i] = c ^ byte(m.sum>>32)
	}
}

// mixApp answers each piece of input with its mix, until the input ends.
func mixApp(_ context.Context, s *Session) error {
	var m mixer
	if state, resumed := s.Restore(); resumed {
		m.sum = binary.BigEndian.Uint64(state)
	}
	buf := make([]byte, 1500)
	for {
		n, err := s.Read(buf)
		m.mix(buf[:n])
		if _, werr := s.Write(buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Offer(func() []byte { return binary.BigEndian.AppendUint64(nil, m.sum) }); err != nil {
			return err
		}
	}
}

// diceApp writes count lines "n random digest", where digest covers all lines
// before: its output can not be made a second time, so it is Committed.
func diceApp(count int) HandlerFunc {
	return func(_ context.Context, s *Session) error {
		n, digest := 0, "start"
		if state, resumed := s.Restore(); resumed {
			if _, err := fmt.Sscan(string(state), &n, &digest); err != nil {
				return refuse(ReasonState, "%v", err)
			}
		}
		for n < count {
			var dice [4]byte
			rand.Read(dice[:])
			line := diceLine(n, hex.EncodeToString(dice[:]), digest)
			if _, err := io.WriteString(s, line); err != nil {
				return err
			}
			n, digest = n+1, diceDigest(line)
			if err := s.Offer(func() []byte { return fmt.Appendf(nil, "%d %s", n, digest) }); err != nil {
				return err
			}
		}
		return nil
	}
}

func diceLine(n int, dice, digest string) string { return fmt.Sprintf("%d %s %s\n", n, dice, digest) }

func diceDigest(line string) string {
	h := fnv.New64a()
	io.WriteString(h, line)
	return hex.EncodeToString(h.Sum(nil))
}

// checkDice verifies that lines are one history, from the first to the last.
func checkDice(text string, count int) error {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) != count+1 || lines[count] != "" {
		return fmt.Errorf("%d lines, want %d", len(lines)-1, count)
	}
	digest := "start"
	for i, line := range lines[:count] {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != strconv.Itoa(i) || f[2] != digest {
			return fmt.Errorf("line %d is %q, want digest %s", i, line, digest)
		}
		digest = diceDigest(line)
	}
	return nil
}

var errCut = errors.New("connection cut by the test")

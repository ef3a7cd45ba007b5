// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"strings"
	"time"
)

// violations are the names of enum violation of src/tally.h, in its order.
var violations = []string{"double_owner", "stray_rst"}

// Violation is how often an invariant was seen broken, and what showed it last.
type Violation struct {
	Times uint64
	Last  Sight // zero if there was none
}

// Sight is a client's packet. Of a violation that a socket's coming to be has shown, only
// the Flow is known.
type Sight struct {
	At        time.Duration // by Now's clock
	Flow      Flow
	Seq, Ack  uint32
	Flags     uint8 // as in the TCP header
	Interface int   // its index; 1 is lo
}

var flagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK"}

func (s Sight) String() string {
	words := []string{s.Flow.String()}
	for bit, name := range flagNames {
		if s.Flags>>bit&1 == 1 {
			words = append(words, name)
		}
	}
	if s.Interface == 0 {
		return s.Flow.String()
	}
	return fmt.Sprintf("%s seq %d ack %d by interface %d", strings.Join(words, " "), s.Seq, s.Ack, s.Interface)
}

// Violations reads how often the programs saw an invariant of the design broken:
//
//   - double_owner (I1): a client acknowledged cookies of two nodes in one handshake, and
//     the first of them has not failed. A guard saw both, or has the socket itself. A client
//     can do it on purpose, since it gets both.
//   - stray_rst (I5): this kernel answered a client's packet with a RST, for want of a
//     socket, and no tombstone says that it ever had one.
//
// What the programs can't see is not among them.
func (f *Filter) Violations() (map[string]Violation, error) {
	out := make(map[string]Violation, len(violations))
	for i, name := range violations {
		var perCPU []onevipOvTally
		if err := f.objs.Tally.Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read the tally of %s: %w", name, err)
		}
		out[name] = sum(perCPU)
	}
	return out, nil
}

func sum(perCPU []onevipOvTally) (v Violation) {
	for _, t := range perCPU {
		v.Times += t.Count
		if at := time.Duration(t.At); at > v.Last.At {
			v.Last = Sight{At: at, Flow: flowOf(t.Flow), Seq: t.Seq, Ack: t.AckSeq, Flags: t.Flags, Interface: int(t.Interface)}
		}
	}
	return v
}

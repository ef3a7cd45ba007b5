// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/onevip/onevip/topology"
)

// drop says which frames that leave an interface are dropped. They are dropped
// by a classic BPF filter at clsact's egress, which needs nothing but
// iproute2: `tc filter show dev eth0 egress` lists it.
type drop struct {
	Loss    float64        `json:"loss"`              // the share of those that the rest names
	Unicast bool           `json:"unicast,omitempty"` // not those to a group address
	Sources []topology.MAC `json:"sources,omitempty"` // only those from one of them; none: from anybody
}

// The verdicts of a filter in direct action.
const (
	tcNext = 0xffffffff // TC_ACT_UNSPEC: the next filter decides
	tcShot = 2          // TC_ACT_SHOT
)

// lateMark marks frames that were held back: they are not held back again.
const lateMark = 0x1a7e

// Delays come before drops, so that a frame meets a drop once.
const (
	delayPriority = 1000
	dropPriority  = 2000
)

func (s step) priority() uint16 {
	if s.Op == opDelay {
		return uint16(delayPriority + s.ID)
	}
	return uint16(dropPriority + s.ID)
}

// program drops a frame that passes all its tests.
func (d drop) program() []bpf.Instruction {
	var p []bpf.Instruction
	if d.Unicast {
		p = append(p, bpf.LoadAbsolute{Off: 0, Size: 1}, // the group bit of the destination
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 1, SkipTrue: 1}, bpf.RetConstant{Val: tcNext})
	}
	if d.Loss < 1 {
		p = append(p, bpf.LoadExtension{Num: bpf.ExtRand},
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(d.Loss * (1 << 32)), SkipTrue: 1}, bpf.RetConstant{Val: tcNext})
	}
	for _, mac := range d.Sources {
		p = append(p, bpf.LoadAbsolute{Off: 8, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(mac[2:]), SkipFalse: 3},
			bpf.LoadAbsolute{Off: 6, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(mac[:])), SkipFalse: 1},
			bpf.RetConstant{Val: tcShot})
	}
	if len(d.Sources) > 0 {
		return append(p, bpf.RetConstant{Val: tcNext})
	}
	return append(p, bpf.RetConstant{Val: tcShot})
}

// unmarked matches what was not held back.
var unmarked = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtMark},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: lateMark, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffffffff}, // matches
	bpf.RetConstant{Val: 0},
}

// bytecode is a program as tc reads it: its length, then code, jumps and
// operand of each instruction.
func bytecode(program []bpf.Instruction) (string, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return "", fmt.Errorf("assemble filter: %w", err)
	}
	words := []string{fmt.Sprint(len(raw))}
	for _, in := range raw {
		words = append(words, fmt.Sprintf("%d %d %d %d", in.Op, in.Jt, in.Jf, in.K))
	}
	return strings.Join(words, ","), nil
}

func addDrop(_ *Running, h *Host, s step) error {
	code, err := bytecode(s.Drop.program())
	if err != nil {
		return err
	}
	return h.addFilter(s, "bpf", "direct-action", "bytecode", code)
}

// addFilter puts a filter at the egress of the step's link.
func (h Host) addFilter(s step, filter ...string) error {
	add := append([]string{"filter", "add", "dev", s.Link, "egress", "pref", fmt.Sprint(s.priority()), "protocol", "all"}, filter...)
	return inNamespace(h.Namespace, func() error {
		if err := tc("qdisc", "replace", "dev", s.Link, "clsact"); err != nil {
			return err
		}
		return tc(add...)
	})
}

func tc(args ...string) error {
	out, err := exec.Command("tc", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: install iproute2", err)
	}
	if err != nil {
		return fmt.Errorf("tc %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// removeFilter takes the step's filter away, and clsact with the last one. An
// interface that is gone has none.
func removeFilter(_ *Running, h *Host, s step) error {
	return inNamespace(h.Namespace, func() error {
		link, err := netlink.LinkByName(s.Link)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", s.Link, err)
		}
		left, err := netlink.FilterList(link, netlink.HANDLE_MIN_EGRESS)
		if err != nil {
			return fmt.Errorf("list filters of %s: %w", s.Link, err)
		}
		others := 0
		for _, f := range left {
			if f.Attrs().Priority != s.priority() {
				others++
			} else if err := netlink.FilterDel(&netlink.BpfFilter{FilterAttrs: *f.Attrs()}); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove filter of %s: %w", s.Link, err)
			}
		}
		if others > 0 {
			return nil
		}
		return removeClsact(link)
	})
}

// removeClsact removes the place of the filters, unless others use it.
func removeClsact(link netlink.Link) error {
	coming, err := netlink.FilterList(link, netlink.HANDLE_MIN_INGRESS)
	if err != nil || len(coming) > 0 {
		return err
	}
	qdiscs, err := netlink.QdiscList(link)
	if err != nil {
		return fmt.Errorf("list queues of %s: %w", link.Attrs().Name, err)
	}
	for _, q := range qdiscs {
		if q.Type() != "clsact" {
			continue
		}
		if err := netlink.QdiscDel(q); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove clsact of %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

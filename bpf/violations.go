// SPDX-License-Identifier: Apache-2.0

package bpf

import "fmt"

// violations are the names of enum violation of src/tally.h, in its order.
var violations = []string{"double_owner", "stray_rst"}

// Violations reads how often the programs saw an invariant of the design broken:
//
//   - double_owner (I1): a client acknowledged cookies of two nodes in one handshake, and
//     the first of them has not failed. A guard saw both, or has the socket itself. A client
//     can do it on purpose, since it gets both.
//   - stray_rst (I5): this kernel answered a client's packet with a RST, for want of a
//     socket, and no tombstone says that it ever had one.
//
// What the programs can't see is not among them.
func (f *Filter) Violations() (map[string]uint64, error) {
	out := make(map[string]uint64, len(violations))
	for i, name := range violations {
		var perCPU []uint64
		if err := f.objs.Tally.Lookup(uint32(i), &perCPU); err != nil {
			return nil, fmt.Errorf("read the tally of %s: %w", name, err)
		}
		for _, n := range perCPU {
			out[name] += n
		}
	}
	return out, nil
}

// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"slices"
	"time"
)

// calmFor is how long a connection must last to count as load: three heartbeats.
// A heartbeat shows by chance which of the short ones are there just then;
// schedulers that all believed it would all swerve from the same node.
const calmFor = 300 * time.Millisecond

// calm is what a node said over the last calmFor, oldest first.
type calm struct {
	incarnation uint64
	heard       []said
}

type said struct {
	at      time.Time
	active  uint32
	adopted uint64
}

// over gives the standing without what comes and goes: the least active count
// of the time, and the adoptions of its beginning. So what this scheduler assigned
// since then is in flight, and counts once.
func (c *calm) over(now time.Time, st standing) standing {
	if st.incarnation != c.incarnation {
		*c = calm{incarnation: st.incarnation}
	}
	c.heard = append(c.heard, said{now, st.active, st.adopted})
	for len(c.heard) > 1 && now.Sub(c.heard[1].at) >= calmFor {
		c.heard = slices.Delete(c.heard, 0, 1)
	}
	for _, s := range c.heard {
		st.active = min(st.active, s.active)
	}
	st.adopted = c.heard[0].adopted
	return st
}

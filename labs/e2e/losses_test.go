// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
)

// losses tell a SYN that the cluster left unanswered from one that never got
// there. The userspace datapath reads its ports through packet sockets; if it
// has to wait for a CPU they run full, which says nothing about the cluster.
type losses struct {
	resent   int // SYNs that the client sent again
	bySwitch int // packets that found a port's buffer full
}

func (l losses) since(before losses) losses {
	return losses{l.resent - before.resent, l.bySwitch - before.bySwitch}
}

func (l losses) String() string {
	return fmt.Sprintf("%d SYNs were sent again, the switch lost %d packets", l.resent, l.bySwitch)
}

// unexplained tells whether SYNs were sent again though the switch lost nothing.
func (l losses) unexplained() bool { return l.resent > 0 && l.bySwitch == 0 }

var portDrops = regexp.MustCompile(`,d(\d+)\)`)

func (l *lab) losses(t *testing.T) losses {
	t.Helper()
	got := losses{resent: l.counters(t, "client")["TcpExtTCPSynRetrans"]}
	for _, m := range portDrops.FindAllStringSubmatch(l.run(t, "sw", "ss", "-0", "-m"), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		got.bySwitch += n
	}
	return got
}

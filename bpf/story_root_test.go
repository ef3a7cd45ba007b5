// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"testing"
)

func TestEveryConnectionHasOneOwner(t *testing.T) {
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps="+timestamps, func(t *testing.T) {
			c := newCluster(t, 4)
			c.client.sysctl("net/ipv4/tcp_timestamps", timestamps)
			for _, n := range c.nodes {
				n.serve()
			}
			const each = 200
			served := map[string]int{}
			for i := range 2 * each {
				vip := vip4
				if i%2 == 1 {
					vip = vip6
				}
				conn, err := c.dial(vip, 0)
				if err != nil {
					t.Fatalf("connection %d to %s: %v\n%s", i, vip, err, c.explain())
				}
				name, err := ask(conn)
				if err != nil {
					t.Fatalf("connection %d to %s: %v\n%s", i, vip, err, c.explain())
				}
				served[name]++
				conn.Close()
			}
			if got := c.adopted(); got != 2*each {
				t.Errorf("adopted %d connections, want %d", got, 2*each)
			}
			t.Log(served)
		})
	}
}

// explain shows the counters that moved, node by node.
func (c *cluster) explain() string {
	out := ""
	for _, n := range c.nodes {
		out += n.name + ":"
		for _, r := range Reasons() {
			if k := n.reason(r); k > 0 {
				out += fmt.Sprintf(" %s=%d", r, k)
			}
		}
		out += "\n"
	}
	return out
}

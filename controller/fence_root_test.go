// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"time"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// TestRealFence: once a failure is said to be fenced, the node's answers reach
// nobody, and it answers again when it is back. A link that goes down is a
// failure at once.
func TestRealFence(t *testing.T) {
	lab := newPrivateLab(t)
	store := state.NewMemory()
	start(t, store, lab.fabric, "c1", lab.config)
	putNode(t, store, "n1")
	await(t, "an answer from the VIP", func() bool { return lab.ask(t, 0) })
	stop := lab.stream(t)
	for _, name := range []topology.NodeName{"n2", "n3"} {
		suspects := map[topology.NodeName]state.Suspicion{"n1": {Since: time.Now()}}
		putAgent(t, store, state.Agent{Schema: state.Schema, Name: name, MAC: macOf(string(name)), Suspects: suspects})
	}
	await(t, "the fence", func() bool { return newestFailure(t, store, "n1").Fenced != nil })
	stop()
	for i := range uint32(3) {
		if lab.ask(t, 1_000_000+i) {
			t.Fatalf("request %d was answered through the fence", i)
		}
	}
	f := newestFailure(t, store, "n1")
	t.Logf("fenced %v after the failure", f.Fenced.Sub(f.Since))

	putNode(t, store, "n2")
	putNode(t, store, "n3")
	putAgent(t, store, state.Agent{Schema: state.Schema, Name: "n1", MAC: macOf("n1"), Cleared: f.Epoch})
	await(t, "the return", func() bool { return newestFailure(t, store, "n1").Left != nil })
	await(t, "an answer after the return", func() bool { return lab.ask(t, 2_000_000) })

	begun := time.Now()
	lab.hosts["n2"].Must(t, "ip", "link", "set", "eth0", "down")
	await(t, "the failure of the link", func() bool { return newestFailure(t, store, "n2").Reason == state.FailureLinkDown })
	t.Logf("link-down: failed %v after it", newestFailure(t, store, "n2").Since.Sub(begun))
}

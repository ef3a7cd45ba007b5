// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"))
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// macOf follows from a name's last character; "none" has none.
func macOf(name string) topology.MAC {
	if name == "none" {
		return topology.MAC{}
	}
	return topology.MAC{2, 0, 0, 0, 0, name[len(name)-1] - '0'}
}

func viewOf(t *testing.T, store state.Store) state.View {
	t.Helper()
	view, err := store.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// putAgent writes an agent's record as if under a lease that never ends.
func putAgent(t *testing.T, store *state.Memory, agent state.Agent) {
	t.Helper()
	value, err := json.Marshal(agent)
	if err != nil {
		t.Fatal(err)
	}
	store.Put("agents/"+string(agent.Name), value)
}

func distinct(list []topology.NodeID) []topology.NodeID {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

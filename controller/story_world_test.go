// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"

	"github.com/onevip/onevip/state"
	"github.com/onevip/onevip/topology"
)

// world lets something happen that is not of the store.
func (s *story) world(what, arg string) {
	switch what {
	case "tick":
		s.now = s.now.Add(duration(s.t, arg))
	case "down", "carrier":
		s.in.Down[topology.NodeName(arg)] = what == "down"
	case "away", "connected":
		s.in.Away[topology.SwitchName(arg)] = what == "away"
	case "fenced":
		s.in.Fenced[uint64(number(s.t, arg))] = true
	case "leader":
		s.succeed(arg)
	}
}

// succeed has another leader elected, who knows of no fence yet.
func (s *story) succeed(name string) {
	if err := s.leader.Resign(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	leader, err := s.store.Campaign(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.leader, s.in.Elected, s.in.Fenced = leader, true, map[uint64]bool{}
}

// suspicions are of the nodes' present boots: n2@40s is silent since 40 s.
func (s *story) suspicions(list string, agentless bool) map[topology.NodeName]state.Suspicion {
	suspects := map[topology.NodeName]state.Suspicion{}
	nodes := viewOf(s.t, s.store).Nodes
	for word := range strings.SplitSeq(list, ",") {
		name, since, _ := strings.Cut(word, "@")
		suspicion := state.Suspicion{Since: s.now, Agentless: agentless, Incarnation: nodes[topology.NodeName(name)].Incarnation}
		if since != "" {
			suspicion.Since = s.now.Add(-duration(s.t, since))
		}
		suspects[topology.NodeName(name)] = suspicion
	}
	return suspects
}

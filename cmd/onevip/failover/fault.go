// SPDX-License-Identifier: Apache-2.0

package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/labs"
)

// Fault is what is done in a round, and to whom: a kind of labs.FaultKinds, with
// the victim's part in front if that matters: scheduler-crash, owner-crash. Empty:
// nothing.
type Fault string

// The parts that a victim may have in the cluster.
const (
	scheduler = "scheduler" // the node that answers the most SYNs
	owner     = "owner"     // one that answers the fewest, and owns connections
)

// ParseFault reads a Fault.
func ParseFault(s string) (Fault, error) {
	f := Fault(s)
	if _, kind := f.split(); slices.ContainsFunc(labs.FaultKinds(), func(i labs.FaultInfo) bool { return i.Kind == kind }) {
		return f, nil
	}
	return "", fmt.Errorf("no fault %q: write a kind that onevip lab fault --help lists, or one with its victim in front: scheduler-crash, owner-crash", s)
}

func (f Fault) split() (part string, kind labs.FaultKind) {
	for _, part := range []string{scheduler, owner} {
		if rest, found := strings.CutPrefix(string(f), part+"-"); found {
			return part, labs.FaultKind(rest)
		}
	}
	return "", labs.FaultKind(f)
}

// role is that of the hosts that the fault is for, as the labs' files have it.
func (f Fault) role() string {
	switch _, kind := f.split(); kind {
	case labs.ControllerKill, labs.EtcdKill, labs.EtcdPause:
		return "controller"
	case labs.OVSRestart:
		return "switch"
	}
	return "server"
}

// member is what onevip nodes says of one node.
type member struct {
	Name       string         `json:"name"`
	Primary    int            `json:"primary_slots"`
	Violations map[string]int `json:"violations"`
}

// victim chooses the host for the i-th round: by its part, or in turns.
func (f Fault) victim(hosts []labs.Host, members []member, i int) (string, error) {
	part, _ := f.split()
	if part == "" {
		if len(hosts) == 0 {
			return "", fmt.Errorf("the lab has no host with the label onevip.role: %s", f.role())
		}
		return hosts[i%len(hosts)].Name, nil
	}
	if len(members) == 0 {
		return "", fmt.Errorf("the cluster has no node")
	}
	byPrimary := func(a, b member) int { return a.Primary - b.Primary }
	if part == scheduler {
		return slices.MaxFunc(members, byPrimary).Name, nil
	}
	return slices.MinFunc(members, byPrimary).Name, nil
}

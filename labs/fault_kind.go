// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FaultKind is a word for what can be done to a host.
type FaultKind string

// The kinds of faults.
const (
	Crash          FaultKind = "crash"
	Reboot         FaultKind = "reboot"
	Hang           FaultKind = "hang"
	LinkDown       FaultKind = "link-down"
	Partition      FaultKind = "partition"
	Slow           FaultKind = "slow"
	Shuffle        FaultKind = "shuffle"
	Loss           FaultKind = "loss"
	CopyLoss       FaultKind = "copy-loss"
	AgentKill      FaultKind = "agent-kill"
	ControllerKill FaultKind = "controller-kill"
	EtcdKill       FaultKind = "etcd-kill"
	EtcdPause      FaultKind = "etcd-pause"
	OVSRestart     FaultKind = "ovs-restart"
)

// kindRow is what there is to know about a kind.
type kindRow struct {
	kind      FaultKind
	brief     string
	momentary bool   // heals at once, unless For says how long it lasts
	alone     bool   // not together with other faults of the host
	takes     string // the options that it understands
	plan      func(planner, Host, FaultOptions) ([]step, error)
}

var kindRows = []kindRow{
	{Crash, "the power fails: nothing leaves the host any more, not even a RST; heal boots it", false, true, "", planner.crash},
	{Reboot, "crash, and boot again at once", true, true, "", planner.crash},
	{Hang, "all processes stop (SIGSTOP); the kernel lives", false, false, "", planner.hang},
	{LinkDown, "the carrier is lost, at the switch's port too", false, false, "link", planner.linkDown},
	{Partition, "no frame comes through between the host and --from", false, false, "from", planner.partition},
	{Slow, "what the host sends is late by --delay", false, false, "link delay", planner.slow},
	{Shuffle, "what the host sends is late by up to --delay, so that frames overtake each other, and a share of --loss comes twice", false, false, "link delay loss", planner.shuffle},
	{Loss, "of what the host sends, a share of --loss is lost", false, false, "link loss", planner.loss},
	{CopyLoss, "of the flood's copies for the host, a share of --loss is lost", false, false, "link loss", planner.copyLoss},
	{AgentKill, "the agent alone is killed, and kept from starting", false, false, "", killPart("agent")},
	{ControllerKill, "the controller is killed, with the etcd inside of it", false, false, "", killPart("controller")},
	{EtcdKill, "an etcd of its own is killed", false, false, "", killPart("etcd")},
	{EtcdPause, "an etcd of its own is stopped (SIGSTOP)", false, false, "", pausePart("etcd")},
	{OVSRestart, "Open vSwitch is killed, and started again at once with its database", true, false, "", killPart("ovs")},
}

// FaultInfo describes a kind for those who choose one.
type FaultInfo struct {
	Kind  FaultKind
	Brief string
}

// FaultKinds lists the kinds of faults.
func FaultKinds() []FaultInfo {
	infos := make([]FaultInfo, len(kindRows))
	for i, row := range kindRows {
		infos[i] = FaultInfo{row.kind, row.brief}
	}
	return infos
}

func kindOf(kind FaultKind) (kindRow, error) {
	i := slices.IndexFunc(kindRows, func(row kindRow) bool { return row.kind == kind })
	if i >= 0 {
		return kindRows[i], nil
	}
	names := make([]string, len(kindRows))
	for i, row := range kindRows {
		names[i] = string(row.kind)
	}
	return kindRow{}, fmt.Errorf("there is no fault %q; write one of: %s", kind, strings.Join(names, ", "))
}

// refuse says which option the kind has no use for, or is out of range.
func (k kindRow) refuse(o FaultOptions) error {
	given := map[string]bool{"from": o.From != "", "link": o.Link != "", "delay": o.Delay != 0, "loss": o.Loss != 0}
	for _, name := range []string{"from", "link", "delay", "loss"} {
		if given[name] && !slices.Contains(strings.Fields(k.takes), name) {
			return fmt.Errorf("fault %s has no use for --%s", k.kind, name)
		}
	}
	switch {
	case o.Loss < 0 || o.Loss > 1:
		return fmt.Errorf("a loss of %g is no share of frames; write one above 0 and up to 1", o.Loss)
	case o.Delay < 0 || o.For < 0:
		return errors.New("a fault takes no negative time")
	}
	return nil
}

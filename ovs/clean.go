// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	openvswitch "github.com/digitalocean/go-openvswitch/ovs"

	"github.com/onevip/onevip/topology"
)

// ErrRemoteFlows is returned by RemoveConfig if it can't reach the flows of a
// switch on another machine, and did the rest.
var ErrRemoteFlows = errors.New("the flows of a switch on another machine stay; " +
	"run this there, or let the controller apply an empty pipeline first")

// RemoveConfig takes back what EnsureBridge and Session.Apply have done: the
// controller target, flows with our cookies, our groups, table names, and
// fail_mode. The bridge, its ports, and what is an operator's stay. With no
// controller left, OVS switches as it would have without onevip.
func RemoveConfig(ctx context.Context, sw topology.Switch, opts BridgeOptions) error {
	b := bridge{vsctl: newVsctl(ctx, sw), sw: sw, owner: opts.Cluster + "/" + string(sw.Name)}
	bridges, err := b.client().VSwitch.ListBridges()
	if err == nil && slices.Contains(bridges, sw.Bridge) {
		err = b.clean()
	}
	if err != nil {
		return fmt.Errorf("clean bridge %s of switch %s: %w", sw.Bridge, sw.Name, err)
	}
	return nil
}

func (b *bridge) clean() error {
	rows, err := b.list("external_ids,flow_tables", "bridge", b.sw.Bridge)
	if err != nil || len(rows) == 0 {
		return err
	}
	ids := rows[0]["external_ids"].entries()
	switch ids[markOwner] {
	case b.owner:
		// The controller first, or it would put its flows back.
		err = b.removeRecords(ids, rows[0]["flow_tables"].entries())
	case "": // cleaned before, or never set up
	default:
		return fmt.Errorf("it belongs to %s, not to %s", ids[markOwner], b.owner)
	}
	return errors.Join(err, b.removeFlows())
}

// removeRecords takes back what is in OVSDB, in one transaction.
func (b *bridge) removeRecords(ids, flowTables map[string]string) error {
	args := []string{"remove", "bridge", b.sw.Bridge, "other_config", "datapath-id",
		"--", "remove", "bridge", b.sw.Bridge, "external_ids", markOwner, markFailMode}
	if before := ids[markFailMode]; before == "none" {
		args = append(args, "--", "clear", "bridge", b.sw.Bridge, "fail_mode")
	} else if before != "" {
		args = append(args, "--", "set", "bridge", b.sw.Bridge, "fail_mode="+before)
	}
	uuid, err := b.ourController()
	if err != nil {
		return err
	}
	if uuid != "" {
		args = append(args, "--", "remove", "bridge", b.sw.Bridge, "controller", uuid)
	}
	tables, err := b.ourTables(flowTables)
	if err != nil {
		return err
	}
	for _, number := range tables {
		args = append(args, "--", "remove", "bridge", b.sw.Bridge, "flow_tables", number)
	}
	_, err = b.transact(args...)
	return err
}

// ourTables gives the numbers of the table records that we have made.
func (b *bridge) ourTables(tables map[string]string) ([]string, error) {
	var ours []string
	for number, uuid := range tables {
		rows, err := b.list("external_ids", "flow_table", uuid)
		if err != nil {
			return nil, err
		}
		if len(rows) == 1 && rows[0]["external_ids"].entries()[markOwner] == b.owner {
			ours = append(ours, number)
		}
	}
	slices.Sort(ours)
	return ours, nil
}

// removeFlows goes by the bridge's management socket, which is beside the
// socket of the OVSDB server.
func (b *bridge) removeFlows() error {
	socket, local := strings.CutPrefix(b.db, "unix:")
	if !local && b.db != "" {
		return ErrRemoteFlows
	}
	target := b.sw.Bridge
	if local {
		target = "unix:" + filepath.Join(filepath.Dir(socket), b.sw.Bridge+".mgmt")
	}
	client := openvswitch.New(openvswitch.Timeout(vsctlTimeout), openvswitch.Protocols([]string{"OpenFlow13"}),
		openvswitch.Exec(func(command string, args ...string) ([]byte, error) { return run(b.ctx, command, args...) }))
	err := client.OpenFlow.DelFlows(target, &openvswitch.MatchFlow{
		Cookie: uint64(cookieMark), CookieMask: uint64(cookieMarkMask), Table: openvswitch.AnyTable,
	})
	for _, id := range []GroupID{GroupFlood, GroupMembers} {
		_, groupErr := run(b.ctx, "ovs-ofctl", "-O", "OpenFlow13", "del-groups", target, fmt.Sprintf("group_id=%d", id))
		err = errors.Join(err, groupErr)
	}
	return err
}

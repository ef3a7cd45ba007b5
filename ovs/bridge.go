// SPDX-License-Identifier: Apache-2.0

package ovs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onevip/onevip/topology"
)

// BridgeOptions say how to set a bridge up.
type BridgeOptions struct {
	// Cluster is the cluster's name; with the switch's it makes the datapath id.
	Cluster string
	// Ports are added if they are missing. Other ports are left alone.
	Ports []string
}

// Marks in external_ids, by which RemoveConfig finds what EnsureBridge did.
const (
	markOwner    = "onevip"           // CLUSTER/SWITCH; of the bridge and of our controller
	markFailMode = "onevip-fail-mode" // the bridge's fail_mode before us
)

// prefixLookup says by which address prefixes OVS may tell flows of a table
// apart, so that a megaflow has no more address bits than needed. Its default
// is IPv4 only; a table has at most three.
var prefixLookup = [tableCount]string{
	Classify: "ip_src,ipv6_src",
	Cluster:  "ip_dst,ipv6_dst",
}

// EnsureBridge makes the bridge of a switch what the controller needs: it
// exists, has its datapath, datapath id, table names and ports, keeps its flows
// when the controller is away (fail_mode=secure), and connects to the
// controller. It may be called again at any time, and removes nothing of an
// operator's. Mind that OVS itself forgets all flows of a bridge that gets its
// first controller.
func EnsureBridge(ctx context.Context, sw topology.Switch, opts BridgeOptions) error {
	if sw.Target == "" {
		return fmt.Errorf("set up bridge %s of switch %s: no controller target; give one such as tcp:192.0.2.2:6653",
			sw.Bridge, sw.Name)
	}
	b := bridge{vsctl: newVsctl(ctx, sw), sw: sw, owner: opts.Cluster + "/" + string(sw.Name)}
	for _, step := range []func() error{
		b.ensureExists,
		b.ensureDatapath,
		func() error { return b.configure(DatapathIDOf(opts.Cluster, sw.Name)) },
		b.ensureTables,
		func() error { return b.ensurePorts(opts.Ports) },
		b.ensureController,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("set up bridge %s of switch %s: %w", sw.Bridge, sw.Name, err)
		}
	}
	return nil
}

// InstalledPorts lists the ports of the bridge, but for the bridge's own.
func InstalledPorts(ctx context.Context, sw topology.Switch) ([]string, error) {
	return newVsctl(ctx, sw).client().VSwitch.ListPorts(sw.Bridge)
}

var errGone = errors.New("somebody has removed the bridge meanwhile")

// bridge is a bridge being set up or cleaned.
type bridge struct {
	*vsctl
	sw    topology.Switch
	owner string
}

// ensureExists creates the bridge in one transaction with what must hold from
// its first instant.
func (b *bridge) ensureExists() error {
	bridges, err := b.client().VSwitch.ListBridges()
	if err != nil || slices.Contains(bridges, b.sw.Bridge) {
		return err
	}
	kind := b.sw.Datapath
	if kind == topology.DatapathAuto || kind == "" {
		kind = topology.DatapathSystem
	}
	return b.client("--", "set", "bridge", b.sw.Bridge,
		"datapath_type="+string(kind), "fail_mode=secure",
		"protocols=OpenFlow10,OpenFlow13", // 1.0 is what ovs-ofctl speaks by default
		"external_ids:"+markFailMode+"=none",
	).VSwitch.AddBridge(b.sw.Bridge)
}

// ensureDatapath sets the kind that was configured. With `auto` an existing
// kind stays if it works; else the kernel's was tried first, and the userspace
// datapath is what remains.
func (b *bridge) ensureDatapath() error {
	kind := b.sw.Datapath
	if kind == topology.DatapathAuto || kind == "" {
		works, err := b.works()
		if err != nil || works {
			return err
		}
		kind = topology.DatapathNetdev
	}
	if _, err := b.transact("set", "bridge", b.sw.Bridge, "datapath_type="+string(kind)); err != nil {
		return err
	}
	works, err := b.works()
	if err != nil || works {
		return err
	}
	return fmt.Errorf("no datapath of type %s (system needs the kernel module openvswitch, netdev /dev/net/tun); "+
		"the log of ovs-vswitchd tells more", kind)
}

// works tells whether ovs-vswitchd has made the datapath: the bridge's own port
// has a number then.
func (b *bridge) works() (bool, error) {
	rows, err := b.list("ofport", "interface", b.sw.Bridge)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	port := rows[0]["ofport"].one()
	return port != "" && port != "-1", nil
}

func (b *bridge) configure(id DatapathID) error {
	current, err := b.list("fail_mode,protocols,external_ids", "bridge", b.sw.Bridge)
	if err != nil {
		return err
	}
	if len(current) != 1 {
		return errGone
	}
	args := []string{"set", "bridge", b.sw.Bridge,
		"fail_mode=secure",
		"other_config:datapath-id=" + id.String(),
		"external_ids:" + markOwner + "=" + b.owner,
	}
	if current[0]["external_ids"].entries()[markFailMode] == "" {
		before := current[0]["fail_mode"].one()
		if before == "" {
			before = "none"
		}
		args = append(args, "external_ids:"+markFailMode+"="+before)
	}
	if allowed := current[0]["protocols"].strings(); len(allowed) > 0 && !slices.Contains(allowed, "OpenFlow13") {
		args = append(args, "--", "add", "bridge", b.sw.Bridge, "protocols", "OpenFlow13")
	}
	_, err = b.transact(args...)
	return err
}

// ensureTables gives the tables their names and prefix lookups.
func (b *bridge) ensureTables() error {
	rows, err := b.list("flow_tables", "bridge", b.sw.Bridge)
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return errGone
	}
	existing := rows[0]["flow_tables"].entries()
	var args []string
	for table := Classify; int(table) < tableCount; table++ {
		number := fmt.Sprint(int(table))
		columns := []string{"name=" + table.String()}
		if prefixes := prefixLookup[table]; prefixes != "" {
			columns = append(columns, "prefixes="+prefixes)
		}
		if uuid := existing[number]; uuid != "" {
			args = append(append(args, "--", "set", "flow_table", uuid), columns...)
			continue
		}
		args = append(append(args, "--", "--id=@t"+number, "create", "flow_table"), columns...)
		args = append(args, "external_ids:"+markOwner+"="+b.owner,
			"--", "set", "bridge", b.sw.Bridge, "flow_tables:"+number+"=@t"+number)
	}
	_, err = b.transact(args[1:]...)
	return err
}

// ensurePorts adds what is missing and reports ports that OVS can't open.
func (b *bridge) ensurePorts(ports []string) error {
	if len(ports) == 0 {
		return nil
	}
	existing, err := b.client().VSwitch.ListPorts(b.sw.Bridge)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if slices.Contains(existing, port) {
			continue
		}
		if err := b.client().VSwitch.AddPort(b.sw.Bridge, port); err != nil {
			return err
		}
	}
	rows, err := b.list("name,error", "interface", ports...)
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range rows {
		if text := r["error"].one(); text != "" {
			failed = append(failed, fmt.Errorf("port %s: %s", r["name"].one(), text))
		}
	}
	return errors.Join(failed...)
}

// ensureController points the bridge to the controller. Other controllers stay.
// The switch gives up on a controller that is silent for 5 s and tries again
// each second.
func (b *bridge) ensureController() error {
	columns := []string{
		"target=" + quote(b.sw.Target), "connection_mode=out-of-band",
		"max_backoff=1000", "inactivity_probe=5000", // milliseconds
		"controller_rate_limit=1000", "controller_burst_limit=250", // packet-ins a second
		"external_ids:" + markOwner + "=" + b.owner,
	}
	uuid, err := b.ourController()
	if err != nil {
		return err
	}
	args := append([]string{"set", "controller", uuid}, columns...)
	if uuid == "" {
		args = append([]string{"--id=@c", "create", "controller"}, columns...)
		args = append(args, "--", "add", "bridge", b.sw.Bridge, "controller", "@c")
	}
	_, err = b.transact(args...)
	return err
}

// ourController finds the controller record that an earlier call has made, or
// one with the same target, among those of the bridge.
func (b *bridge) ourController() (uuid string, err error) {
	rows, err := b.list("controller", "bridge", b.sw.Bridge)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	uuids := rows[0]["controller"].strings()
	if len(uuids) == 0 {
		return "", nil
	}
	controllers, err := b.list("_uuid,target,external_ids", "controller", uuids...)
	if err != nil {
		return "", err
	}
	for _, c := range controllers {
		if c["external_ids"].entries()[markOwner] == b.owner || c["target"].one() == b.sw.Target {
			return c["_uuid"].one(), nil
		}
	}
	return "", nil
}

// quote protects a value from ovs-vsctl's parser: IPv6 targets have brackets.
func quote(value string) string { return `"` + strings.ReplaceAll(value, `"`, "") + `"` }

// SPDX-License-Identifier: Apache-2.0

package ovs_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onevip/onevip/ovs"
	"github.com/onevip/onevip/ovs/ovstest"
	"github.com/onevip/onevip/topology"
)

// configuration is all that OVSDB says of a bridge, ids and statistics left out.
func configuration(t *testing.T, sw *ovstest.Switch, bridge string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for column := range strings.SplitSeq("datapath_type,fail_mode,protocols,other_config,external_ids,flow_tables,controller,ports", ",") {
		out[column] = strings.TrimSpace(sw.Vsctl(t, "get", "bridge", bridge, column))
	}
	out["controllers"] = sw.Vsctl(t, "--columns=target,connection_mode,max_backoff,inactivity_probe,external_ids", "list", "controller")
	out["tables"] = sw.Vsctl(t, "--columns=_uuid,name,prefixes", "list", "flow_table")
	return out
}

// TestEnsureBridgeTwice: a second call changes nothing, and neither empties the
// flow tables.
func TestEnsureBridgeTwice(t *testing.T) {
	f := newFixture(t)
	f.installed(t)
	before, flows := configuration(t, f.sw, "br0"), f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0")
	f.ensure(t)
	if diff := cmp.Diff(before, configuration(t, f.sw, "br0")); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(lines(flows), lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0"))); diff != "" {
		t.Errorf("flows (-first +second):\n%s", diff)
	}
	if before["datapath_type"] != "netdev" { // auto, where there is no kernel module
		t.Logf("datapath_type %s: this kernel has Open vSwitch", before["datapath_type"])
	}
	// The controller moves: the record is ours and follows.
	f.topology.Target = "tcp:127.0.0.1:1"
	f.ensure(t)
	if got := strings.TrimSpace(f.sw.Vsctl(t, "get-controller", "br0")); got != f.topology.Target {
		t.Errorf("controllers %q, want only %s", got, f.topology.Target)
	}
	ports, err := ovs.InstalledPorts(t.Context(), f.topology)
	if slices.Sort(ports); err != nil || !slices.Equal(ports, []string{"client", "n1", "n2", "n3"}) {
		t.Errorf("ports %v, error %v", ports, err)
	}
}

// TestRemoveConfig: an operator's bridge is after the removal what it was, with
// his flows, his controller and his ports, and switches again.
func TestRemoveConfig(t *testing.T) {
	ovstest.Need(t)
	sw := ovstest.Start(t)
	sw.Host(t, "own", 7)
	sw.Vsctl(t, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "other_config:hwaddr=02:00:00:00:00:77",
		"--", "add-port", "br0", "own", "--", "set-controller", "br0", "tcp:"+listenIn(t, sw, t.Output()).Addr().String())
	before := configuration(t, sw, "br0")
	l := listenIn(t, sw, t.Output())
	f := &fixture{sw: sw, listener: l,
		topology: topology.Switch{Name: "s1", Bridge: "br0", OVSDB: sw.DB, Target: "tcp:" + l.Addr().String()},
		options:  ovs.BridgeOptions{Cluster: "lab"}}
	f.ensure(t)
	const operators = "cookie=0x99, table=1, priority=7,tcp,tp_dst=22 actions=drop"
	f.installed(t)
	sw.Ofctl(t, "add-flow", "br0", operators)

	installed := sw.Ofctl(t, "--no-stats", "dump-flows", "br0")
	err := ovs.RemoveConfig(t.Context(), f.topology, ovs.BridgeOptions{Cluster: "other"})
	if err == nil || !strings.Contains(err.Error(), "belongs to lab/s1") || sw.Ofctl(t, "--no-stats", "dump-flows", "br0") != installed {
		t.Errorf("removal in another cluster's name: %v", err)
	}
	if err := ovs.RemoveConfig(t.Context(), f.topology, f.options); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, configuration(t, sw, "br0")); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	left := lines(sw.Ofctl(t, "--no-stats", "dump-flows", "br0") + sw.Ofctl(t, "dump-groups", "br0"))
	if !slices.Equal(left, []string{operators}) {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
	if err := ovs.RemoveConfig(t.Context(), f.topology, f.options); err != nil {
		t.Errorf("a second removal: %v", err)
	}
}

// TestRemoveLastController: with no controller left the bridge is an ordinary
// switch.
func TestRemoveLastController(t *testing.T) {
	f := newFixture(t)
	f.installed(t)
	if err := ovs.RemoveConfig(t.Context(), f.topology, f.options); err != nil {
		t.Fatal(err)
	}
	ovstest.WaitFor(t, "the bridge to switch by itself", func() bool {
		return slices.Equal(lines(f.sw.Ofctl(t, "--no-stats", "dump-flows", "br0")), []string{"priority=0 actions=NORMAL"})
	})
}

func TestEnsureBridgeErrors(t *testing.T) {
	ovstest.Need(t)
	sw := ovstest.Start(t)
	for _, tt := range []struct {
		name   string
		change func(*topology.Switch, *ovs.BridgeOptions)
		want   string
	}{
		{"no such port", func(_ *topology.Switch, o *ovs.BridgeOptions) { o.Ports = []string{"nowhere"} }, "port nowhere: "},
		{"no OVSDB server", func(s *topology.Switch, _ *ovs.BridgeOptions) { s.OVSDB = "unix:" + sw.Dir + "/none.sock" }, "none.sock"},
		{"no such datapath", func(s *topology.Switch, _ *ovs.BridgeOptions) { s.Bridge, s.Datapath = "br1", "dpdk-x" }, "no datapath of type dpdk-x"},
		{"unusable target", func(s *topology.Switch, _ *ovs.BridgeOptions) { s.Target = "" }, "controller target"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := topology.Switch{Name: "s1", Bridge: "br0", OVSDB: sw.DB, Datapath: topology.DatapathNetdev, Target: "tcp:127.0.0.1:1"}
			o := ovs.BridgeOptions{Cluster: "lab"}
			tt.change(&s, &o)
			err := ovs.EnsureBridge(t.Context(), s, o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "switch s1") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ovs.EnsureBridge(ctx, topology.Switch{Bridge: "br0", OVSDB: sw.DB}, ovs.BridgeOptions{}); err == nil {
		t.Error("EnsureBridge goes on after its context has ended")
	}
}

// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const levelsLab = `name: levels
mgmt: {skip-when-unused: true}
topology:
  defaults:
    network-mode: none
    image-pull-policy: Never
    kind: linux
    cmd: from defaults
    env: {A: defaults, B: defaults}
    exec: [one]
    binds: ["a:/x", "b:/y:ro"]
  kinds:
    linux:
      image: kind:1
      cmd: sh -c "from kind"
      privileged: false
      cap-add: [NET_ADMIN]
      env: {B: kind, C: kind}
      labels: {l: kind}
      exec: [two 2]
  groups:
    server:
      env: {C: group, D: 1}
      labels: {l: group, m: group}
      exec: ["three"]
      binds: ["c:/y"]
  nodes:
    sw: {image: "sw:1", devices: [/dev/net/tun]}
    n1:
      group: server
      cmd: node.sh
      env: {D: node}
      labels: {m: node}
      exec: [four]
      binds: ["/d:/z"]
    bare:
  links:
    - endpoints: ["n1:eth0", "sw:n1"]
      mtu: 1400
    - endpoints: ["bare:eth0", "sw:bare"]
`

func TestParseLabMerges(t *testing.T) {
	got, err := ParseLab("f", []byte(levelsLab))
	if err != nil {
		t.Fatal(err)
	}
	binds := []Bind{{"a", "/x", ""}, {"b", "/y", "ro"}}
	want := Lab{
		Name: "levels",
		Nodes: []LabNode{
			{Name: "bare", Kind: "linux", Image: "kind:1", Cmd: []string{"sh", "-c", "from kind"}, Exec: [][]string{{"one"}, {"two", "2"}},
				Binds: binds, Env: map[string]string{"A": "defaults", "B": "kind", "C": "kind"}, Labels: map[string]string{"l": "kind"}},
			{Name: "n1", Kind: "linux", Group: "server", Image: "kind:1", Cmd: []string{"node.sh"}, Exec: [][]string{{"one"}, {"two", "2"}, {"three"}, {"four"}},
				Binds: []Bind{{"a", "/x", ""}, {"c", "/y", ""}, {"/d", "/z", ""}},
				Env:   map[string]string{"A": "defaults", "B": "kind", "C": "group", "D": "node"}, Labels: map[string]string{"l": "group", "m": "node"}},
			{Name: "sw", Kind: "linux", Image: "sw:1", Cmd: []string{"sh", "-c", "from kind"}, Exec: [][]string{{"one"}, {"two", "2"}},
				Binds: binds, Env: map[string]string{"A": "defaults", "B": "kind", "C": "kind"}, Labels: map[string]string{"l": "kind"}},
		},
		Links: []LabLink{
			{A: LabEndpoint{"n1", "eth0"}, B: LabEndpoint{"sw", "n1"}, MTU: 1400},
			{A: LabEndpoint{"bare", "eth0"}, B: LabEndpoint{"sw", "bare"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, found := got.Node("sw"); !found {
		t.Error("node sw is not found by its name")
	}
	if _, found := got.Node("n9"); found {
		t.Error("a node n9 is found")
	}
}

func TestParseLabErrors(t *testing.T) {
	const head = "name: a\ntopology:\n  defaults: {kind: linux, network-mode: none}\n"
	tests := []struct{ name, file, want string }{
		{"empty", "", `f:1: name: is missing; write a name
f:1: topology.nodes: there is none; write at least one node`},
		{"a list", "[a]", `f:1: is a list, not a block; write its keys below it: name, mgmt, topology`},
		{"unknown key", head + "  nodes:\n    n1: {startup-delay: 5}\n",
			`f:5: topology.nodes.n1.startup-delay: unknown key; write kind, group, image, image-pull-policy, network-mode, privileged, cap-add, devices, cmd, binds, env, labels or exec`},
		{"unknown key, a near one", head + "  nodes:\n    n1:\n      lables: {a: b}\n", `f:6: topology.nodes.n1.lables: unknown key; write labels`},
		{"unknown kind", head + "  kinds: {ovs-bridge: {image: a}}\n  nodes:\n    n1: {kind: bridge}\n", `f:4: topology.kinds.ovs-bridge: "ovs-bridge" is not known; write linux
f:6: topology.nodes.n1.kind: "bridge" is not known; write linux`},
		{"no kind, no network mode", "name: a\ntopology:\n  nodes:\n    n1:\n", `f:4: topology.nodes.n1.kind: is missing; write linux, here or in topology.defaults
f:4: topology.nodes.n1.network-mode: is ""; write none, here or in topology.defaults: the runner makes no network beside the links`},
		{"names", "name: A b\ntopology:\n  defaults: {kind: linux, network-mode: none}\n  nodes:\n    N1:\n", `f:1: name: "A b" is no name; write at most 30 of a-z, 0-9 and '-', with a letter or digit at both ends
f:5: topology.nodes.N1: "N1" is no name; write at most 30 of a-z, 0-9 and '-', with a letter or digit at both ends`},
		{"unknown group", head + "  groups: {server: {}}\n  nodes:\n    n1: {group: servers}\n", `f:6: topology.nodes.n1.group: there is no group "servers"; write server`},
		{"cmd", head + "  nodes:\n    n1: {cmd: \"sh -c 'a\"}\n", `f:5: topology.nodes.n1.cmd: ends inside a quote; close it, or escape it with a backslash`},
		{"exec", head + "  nodes:\n    n1:\n      exec:\n        - a \\\n        - ''\n", `f:7: topology.nodes.n1.exec[0]: ends with a backslash; close it, or escape it with a backslash
f:8: topology.nodes.n1.exec[1]: is an empty command; leave it out`},
		{"bind", head + "  nodes:\n    n1: {binds: [a, \"a:b\"]}\n", `f:5: topology.nodes.n1.binds[0]: "a" is no bind; write source:/target or source:/target:ro
f:5: topology.nodes.n1.binds[1]: "a:b" is no bind; write source:/target or source:/target:ro`},
		{"environment", head + "  nodes:\n    n1: {env: {A-B: x, C: [1]}}\n", `f:5: topology.nodes.n1.env.C: is a list, not a single value; write a word
f:5: topology.nodes.n1.env.A-B: can't be an environment variable; write letters, digits and '_'`},
		{"links", head + "  nodes: {n1: , n2: }\n  links:\n    - endpoints: [\"n1:eth0\"]\n    - endpoints: [\"n1:eth0\", \"n3:eth0\"]\n    - endpoints: [\"n1:eth0\", \"n2:an-interface-too-long\"]\n    - endpoints: [\"n1\", \"n2:lo\"]\n      mtu: 9\n",
			`f:6: topology.links[0].endpoints: has 1 ends; write two: ["n1:eth1", "sw:n1"]
f:7: topology.links[1].endpoints[1]: there is no node "n3"; write n1
f:8: topology.links[2].endpoints[0]: n1:eth0 is used twice; write another interface
f:8: topology.links[2].endpoints[1]: "n2:an-interface-too-long" is no node:interface; write one like n1:eth1, the interface with at most 15 letters
f:9: topology.links[3].endpoints[0]: "n1:" is no node:interface; write one like n1:eth1, the interface with at most 15 letters
f:9: topology.links[3].endpoints[1]: "n2:lo" is no node:interface; write one like n1:eth1, the interface with at most 15 letters
f:10: topology.links[3].mtu: 9 is out of range; write 68 to 65535`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseLab("f", []byte(tt.file))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The group may come from the kind, and the kind from the group.
func TestParseLabGroupsAndKinds(t *testing.T) {
	lab, err := ParseLab("f", []byte(`name: a
topology:
  defaults: {network-mode: none}
  kinds: {linux: {group: g, image: of-kind}}
  groups: {g: {env: {A: of-group}}, h: {kind: linux}}
  nodes: {n1: {kind: linux}, n2: {group: h}}
`))
	if err != nil {
		t.Fatal(err)
	}
	n1, _ := lab.Node("n1")
	n2, _ := lab.Node("n2")
	if n1.Group != "g" || n1.Env["A"] != "of-group" || n2.Group != "h" || n2.Kind != "linux" || n2.Image != "of-kind" {
		t.Errorf("n1 %+v, n2 %+v", n1, n2)
	}
}

// A command for a shell stays one word.
func TestParseLabKeepsShellText(t *testing.T) {
	file := strings.Replace(levelsLab, "cmd: node.sh", `cmd: sh -c "trap exit TERM; sleep infinity & wait"`, 1)
	lab, err := ParseLab("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	n1, _ := lab.Node("n1")
	if diff := cmp.Diff([]string{"sh", "-c", "trap exit TERM; sleep infinity & wait"}, n1.Cmd); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

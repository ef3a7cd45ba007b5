// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// linuxKind is the only kind that both containerlab and our runner build: the
// switch too is a linux node, one that runs Open vSwitch.
const linuxKind = "linux"

var (
	// labNameForm keeps the names of namespaces and socket paths short.
	labNameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)
	envNameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// check validates the file, and the lab that was merged from it.
func (f *labFile) check(lab Lab) Problems {
	var k checker
	k.labName("name", f.Name)
	k.labLevel("topology.defaults", f.Topology.Defaults)
	for _, kind := range sortedKeys(f.Topology.Kinds) {
		at := "topology.kinds." + kind
		k.among(at, kind, linuxKind)
		k.labLevel(at, f.Topology.Kinds[kind])
	}
	for _, group := range sortedKeys(f.Topology.Groups) {
		k.labLevel("topology.groups."+group, f.Topology.Groups[group])
	}
	if len(lab.Nodes) == 0 {
		k.fail("topology.nodes", "there is none", "write at least one node")
	}
	for _, node := range lab.Nodes {
		at := "topology.nodes." + node.Name
		k.labName(at, node.Name)
		k.labLevel(at, f.Topology.Nodes[node.Name])
		k.labNode(at, node, f)
	}
	k.labLinks(lab)
	for i, cable := range f.Topology.Links {
		if n := len(cable.Endpoints); n != 2 {
			k.fail(fmt.Sprintf("topology.links[%d].endpoints", i), fmt.Sprintf("has %d ends", n), `write two: ["n1:eth1", "sw:n1"]`)
		}
	}
	return k.problems
}

func sortedKeys(levels map[string]labLevel) []string { return slices.Sorted(maps.Keys(levels)) }

// ValidLabName tells whether a lab or one of its hosts may be called so: the
// name becomes part of file, socket and namespace names.
func ValidLabName(name string) bool { return labNameForm.MatchString(name) }

func (k *checker) labName(path, name string) {
	switch {
	case name == "":
		k.fail(path, "is missing", "write a name")
	case !ValidLabName(name):
		k.fail(path, fmt.Sprintf("%q is no name", name), "write at most 30 of a-z, 0-9 and '-', with a letter or digit at both ends")
	}
}

// labLevel checks what is written in one block.
func (k *checker) labLevel(at string, level labLevel) {
	if level.Kind != "" {
		k.among(at+".kind", level.Kind, linuxKind)
	}
	if _, err := SplitWords(level.Cmd); err != nil {
		k.fail(at+".cmd", err.Error(), "close it, or escape it with a backslash")
	}
	for i, line := range level.Exec {
		path := fmt.Sprintf("%s.exec[%d]", at, i)
		switch words, err := SplitWords(line); {
		case err != nil:
			k.fail(path, err.Error(), "close it, or escape it with a backslash")
		case len(words) == 0:
			k.fail(path, "is an empty command", "leave it out")
		}
	}
	for i, text := range level.Binds {
		if _, ok := parseBind(text); !ok {
			k.fail(fmt.Sprintf("%s.binds[%d]", at, i), fmt.Sprintf("%q is no bind", text), "write source:/target or source:/target:ro")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(level.Env)) {
		if !envNameForm.MatchString(name) || strings.ContainsRune(level.Env[name], 0) {
			k.fail(at+".env."+name, "can't be an environment variable", "write letters, digits and '_'")
		}
	}
}

// labNode checks what follows for a node from all levels.
func (k *checker) labNode(at string, node LabNode, f *labFile) {
	if node.Kind == "" {
		k.fail(at+".kind", "is missing", "write "+linuxKind+", here or in topology.defaults")
	}
	groups := sortedKeys(f.Topology.Groups)
	if node.Group != "" && !slices.Contains(groups, node.Group) {
		k.fail(at+".group", fmt.Sprintf("there is no group %q", node.Group), suggest(node.Group, groups))
	}
	mode := ""
	levels, _ := f.levels(node.Name)
	for _, level := range levels {
		mode = first(level.NetworkMode, mode)
	}
	if mode != "none" {
		k.fail(at+".network-mode", fmt.Sprintf("is %q", mode),
			"write none, here or in topology.defaults: the runner makes no network beside the links")
	}
}

func (k *checker) labLinks(lab Lab) {
	names := make([]string, len(lab.Nodes))
	for i, n := range lab.Nodes {
		names[i] = n.Name
	}
	used := map[LabEndpoint]bool{}
	for i, link := range lab.Links {
		at := fmt.Sprintf("topology.links[%d]", i)
		if link.MTU != 0 {
			k.within(at+".mtu", link.MTU, 68, 65535)
		}
		if link.A == (LabEndpoint{}) && link.B == (LabEndpoint{}) {
			continue // not two ends, reported as such
		}
		for j, end := range []LabEndpoint{link.A, link.B} {
			k.labEnd(fmt.Sprintf("%s.endpoints[%d]", at, j), end, names, used[end])
			used[end] = true
		}
	}
}

func (k *checker) labEnd(path string, end LabEndpoint, nodes []string, used bool) {
	switch {
	case !interfaceForm.MatchString(end.Interface) || end.Interface == "lo":
		k.fail(path, fmt.Sprintf("%q is no node:interface", end), "write one like n1:eth1, the interface with at most 15 letters")
	case !slices.Contains(nodes, end.Node):
		k.fail(path, fmt.Sprintf("there is no node %q", end.Node), suggest(end.Node, nodes))
	case used:
		k.fail(path, fmt.Sprintf("%s is used twice", end), "write another interface")
	}
}

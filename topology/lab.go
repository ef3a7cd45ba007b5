// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Lab is a containerlab file (.clab.yml) with everything merged that it says of
// each node in defaults, kinds and groups.
type Lab struct {
	Name  string
	Nodes []LabNode // by name
	Links []LabLink
}

// Node finds a node by its name.
func (l Lab) Node(name string) (LabNode, bool) {
	i := slices.IndexFunc(l.Nodes, func(n LabNode) bool { return n.Name == name })
	if i < 0 {
		return LabNode{}, false
	}
	return l.Nodes[i], true
}

// LabNode is one host of a lab.
type LabNode struct {
	Name   string
	Kind   string // linux
	Group  string
	Image  string
	Cmd    []string   // the host's first process; empty: none
	Exec   [][]string // run in this order once the host has its links
	Binds  []Bind
	Env    map[string]string
	Labels map[string]string
}

// Bind makes a file or folder of this machine visible in the host. A relative
// Source starts at the lab file's folder.
type Bind struct {
	Source, Target string
	Options        string // ro, rw
}

// LabLink is a virtual cable.
type LabLink struct {
	A, B LabEndpoint
	MTU  int // 0: the runner's choice
}

// LabEndpoint is an interface of a lab's node.
type LabEndpoint struct {
	Node, Interface string
}

func (e LabEndpoint) String() string { return e.Node + ":" + e.Interface }

// labFile is the file as it is written. The keys are those that containerlab
// and our runner both understand; any other is refused.
type labFile struct {
	Name string `yaml:"name"`
	Mgmt struct {
		SkipWhenUnused bool `yaml:"skip-when-unused"`
	} `yaml:"mgmt"`
	Topology struct {
		Defaults labLevel            `yaml:"defaults"`
		Kinds    map[string]labLevel `yaml:"kinds"`
		Groups   map[string]labLevel `yaml:"groups"`
		Nodes    map[string]labLevel `yaml:"nodes"`
		Links    []labCable          `yaml:"links"`
	} `yaml:"topology"`
}

// labLevel is what can be said of nodes at each of the four levels.
type labLevel struct {
	Kind            string            `yaml:"kind"`
	Group           string            `yaml:"group"`
	Image           string            `yaml:"image"`
	ImagePullPolicy string            `yaml:"image-pull-policy"` // for containerlab only
	NetworkMode     string            `yaml:"network-mode"`
	Privileged      bool              `yaml:"privileged"` // for containerlab only
	CapAdd          []string          `yaml:"cap-add"`    // for containerlab only
	Devices         []string          `yaml:"devices"`    // for containerlab only
	Cmd             string            `yaml:"cmd"`
	Binds           []string          `yaml:"binds"`
	Env             map[string]string `yaml:"env"`
	Labels          map[string]string `yaml:"labels"`
	Exec            []string          `yaml:"exec"`
}

type labCable struct {
	Endpoints []string `yaml:"endpoints"`
	MTU       int      `yaml:"mtu"`
}

// ParseLab reads the content of a containerlab file that is called name in
// messages. The error is a Problems.
func ParseLab(name string, data []byte) (Lab, error) {
	d := newDecoder(name)
	root := d.parseYAML(data)
	if root == nil {
		return Lab{}, d.problems
	}
	var f labFile
	d.decode(root, reflect.ValueOf(&f).Elem(), "")
	if root.Kind != yaml.MappingNode {
		return Lab{}, d.problems
	}
	lab := f.merge()
	for _, p := range d.locate(f.check(lab)) {
		if !d.problems.covers(p.Path) {
			d.problems = append(d.problems, p)
		}
	}
	if err := d.problems.sorted().err(); err != nil {
		return Lab{}, err
	}
	return lab, nil
}

// levels gives what applies to a node, the least specific first: defaults,
// kind, group, node; and the name of that group.
func (f *labFile) levels(node string) (levels []labLevel, group string) {
	own, defaults := f.Topology.Nodes[node], f.Topology.Defaults
	kindName := first(own.Kind, f.Topology.Groups[first(own.Group, defaults.Group)].Kind, defaults.Kind)
	kind := f.Topology.Kinds[kindName]
	group = first(own.Group, kind.Group, defaults.Group)
	return []labLevel{defaults, kind, f.Topology.Groups[group], own}, group
}

// merge applies containerlab's rules: the most specific single value holds,
// maps are merged, lists are joined.
func (f *labFile) merge() Lab {
	lab := Lab{Name: f.Name}
	for _, name := range slices.Sorted(maps.Keys(f.Topology.Nodes)) {
		levels, group := f.levels(name)
		lab.Nodes = append(lab.Nodes, mergeNode(LabNode{Name: name, Group: group}, levels))
	}
	for _, cable := range f.Topology.Links {
		link := LabLink{MTU: cable.MTU}
		if len(cable.Endpoints) == 2 {
			link.A, link.B = parseEndpoint(cable.Endpoints[0]), parseEndpoint(cable.Endpoints[1])
		}
		lab.Links = append(lab.Links, link)
	}
	return lab
}

func mergeNode(node LabNode, levels []labLevel) LabNode {
	node.Env, node.Labels = map[string]string{}, map[string]string{}
	var cmd string
	for _, level := range levels {
		node.Kind = first(level.Kind, node.Kind)
		node.Image = first(level.Image, node.Image)
		cmd = first(level.Cmd, cmd)
		maps.Copy(node.Env, level.Env)
		maps.Copy(node.Labels, level.Labels)
		for _, line := range level.Exec {
			if words, err := SplitWords(line); err == nil && len(words) > 0 {
				node.Exec = append(node.Exec, words)
			}
		}
		for _, text := range level.Binds {
			if bind, ok := parseBind(text); ok {
				node.Binds = addBind(node.Binds, bind)
			}
		}
	}
	node.Cmd, _ = SplitWords(cmd) // checked where it is written
	return node
}

// addBind lets a bind replace a less specific one with the same target.
func addBind(binds []Bind, bind Bind) []Bind {
	same := func(b Bind) bool { return b.Target == bind.Target }
	return append(slices.DeleteFunc(binds, same), bind)
}

// parseBind reads source:target[:options].
func parseBind(text string) (Bind, bool) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") {
		return Bind{}, false
	}
	bind := Bind{Source: parts[0], Target: parts[1]}
	if len(parts) == 3 {
		bind.Options = parts[2]
	}
	return bind, true
}

// parseEndpoint reads node:interface; what is missing stays empty.
func parseEndpoint(text string) LabEndpoint {
	node, iface, _ := strings.Cut(text, ":")
	return LabEndpoint{Node: node, Interface: iface}
}

// first gives the first word that is not empty.
func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

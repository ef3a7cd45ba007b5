// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Override sets one scalar, or a list of words separated by commas, from
// outside of the file.
type Override struct {
	Path   string // heartbeat.interval, services[0].policy: one that Paths or ItemPaths lists
	Value  string
	Origin string // named in messages: "flag --heartbeat-interval"
}

// Path is a field that an Override may set.
type Path struct {
	Path    string
	Kind    string // text, number, duration, bool or list
	Default string
	Doc     string
}

// pathDocs says in a line what each overridable field is for.
var pathDocs = map[string]string{
	"cluster":             "name of the cluster",
	"mac":                 "cluster MAC that the switch answers ARP and ND with; derived from the name if empty",
	"schedulers":          "nodes that answer SYNs: 1 or all",
	"window_scale":        "TCP window scale of the servers, 0 to 14",
	"etcd.endpoints":      "etcd URLs, separated by commas; empty: the controller embeds a member",
	"etcd.ca":             "PEM file of the authority that signed etcd's certificate",
	"etcd.cert":           "PEM file of the certificate shown to etcd",
	"etcd.key":            "PEM file of that certificate's key",
	"etcd.listen":         "client URL of the embedded etcd member",
	"etcd.data_dir":       "data directory of the embedded etcd member",
	"etcd.insecure":       "allow etcd over plain http beyond loopback",
	"controller.openflow": "host:port that the switches connect to",
	"controller.metrics":  "host:port of /metrics; empty: none",
	"controller.announce": "period of the gratuitous ARP and NA for each VIP",
	"heartbeat.preset":    "heartbeat.interval and misses where they are not set: default (100ms, 3) or fast (50ms, 3)",
	"heartbeat.interval":  "period of the agents' heartbeats",
	"heartbeat.misses":    "silent intervals until a node is asked whether it lives",
	"speculation.delay":   "how long a secondary waits before it answers a SYN for its primary; 0: not at all, off: for ever",
	"speculation.mirror":  "copy SYN/ACKs to the nodes, which then know that a SYN was answered",
	"failure.grace":       "silence of an agent whose node answers probes until the node counts as failed",
	"cookie.rotate":       "period of the SYN cookie key",
	"conns.min_age":       "age from which a connection is stored in etcd",
	"conns.max_rate":      "connection records stored per second and node",
}

// Paths lists what an Override may set, in the order of the file.
func Paths() []Path {
	c := Default()
	return pathsOf(reflect.ValueOf(&c).Elem(), "")
}

// ItemPaths lists what an Override may set in the items of the file's lists: the
// numbers are left out, services[].policy.
func ItemPaths() []Path {
	var paths []Path
	c := reflect.TypeFor[Cluster]()
	for i := range c.NumField() {
		list := c.Field(i)
		if list.Type.Kind() != reflect.Slice || list.Type == reflect.TypeFor[[]Link]() {
			continue
		}
		item := reflect.New(list.Type.Elem())
		setDefaults(item.Interface())
		paths = append(paths, pathsOf(item.Elem(), tagOf(list)+"[]")...)
	}
	return paths
}

func pathsOf(v reflect.Value, prefix string) []Path {
	var paths []Path
	for i := range v.NumField() {
		field, at := v.Field(i), join(prefix, tagOf(v.Type().Field(i)))
		if field.Kind() == reflect.Struct && !isText(field) {
			paths = append(paths, pathsOf(field, at)...)
			continue
		}
		if kind := overrideKind(field); kind != "" {
			paths = append(paths, Path{Path: at, Kind: kind, Default: textOf(field), Doc: pathDocs[at]})
		}
	}
	return paths
}

// overrideKind names the kind of a field, or nothing if it can't be overridden.
func overrideKind(v reflect.Value) string {
	switch v.Interface().(type) {
	case time.Duration, Delay:
		return "duration"
	case []string:
		return "list"
	case MAC:
		return "text"
	}
	switch {
	case v.Kind() == reflect.String:
		return "text"
	case v.Kind() == reflect.Bool:
		return "bool"
	case v.CanInt(), v.CanUint(), v.CanFloat():
		return "number"
	}
	return ""
}

// textOf writes a field as an Override's Value would be.
func textOf(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case []string:
		return strings.Join(value, ",")
	case MAC:
		if value.IsZero() {
			return ""
		}
	}
	var n yaml.Node
	if err := n.Encode(v.Interface()); err != nil {
		return ""
	}
	return n.Value
}

// override puts o into the tree as if the file had said so.
func (d *decoder) override(root *yaml.Node, o Override) {
	paths := append(Paths(), ItemPaths()...)
	form := itemNumber.ReplaceAllString(o.Path, "[]")
	known := slices.IndexFunc(paths, func(p Path) bool { return p.Path == form })
	if known < 0 || strings.Contains(o.Path, "[]") {
		d.unknownOverride(o, paths)
		return
	}
	keys := strings.Split(o.Path, ".")
	block := root
	for _, key := range keys[:len(keys)-1] {
		if block = d.step(block, key, o); block == nil {
			return // said already, or the file's own mistake, which decoding reports
		}
	}
	value := overrideNode(paths[known].Kind, o.Value)
	d.origins[value] = o.Origin
	for _, item := range value.Content {
		d.origins[item] = o.Origin
	}
	setKey(block, keys[len(keys)-1], value)
}

// step goes to the block under key, or to the item of a list: services[0].
func (d *decoder) step(block *yaml.Node, key string, o Override) *yaml.Node {
	list, rest, isItem := strings.Cut(key, "[")
	if !isItem {
		return d.child(block, key, o.Origin)
	}
	items := itemsUnder(block, list)
	number, err := strconv.Atoi(strings.TrimSuffix(rest, "]"))
	if err != nil || number >= len(items) {
		d.overrideFails(o, fmt.Sprintf("the file has %d under %s", len(items), list), "count from 0 to one that is there")
		return nil
	}
	if items[number].Kind == yaml.AliasNode {
		return items[number].Alias
	}
	return items[number]
}

// itemsUnder gives the items of the list that block has under key.
func itemsUnder(block *yaml.Node, key string) []*yaml.Node {
	for i := 0; block.Kind == yaml.MappingNode && i+1 < len(block.Content); i += 2 {
		value := block.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if block.Content[i].Value == key && value.Kind == yaml.SequenceNode {
			return value.Content
		}
	}
	return nil
}

// itemNumber is the number of an item in a path: services[0].policy.
var itemNumber = regexp.MustCompile(`\[\d{1,4}\]`)

func (d *decoder) unknownOverride(o Override, paths []Path) {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = strings.Replace(p.Path, "[]", "[0]", 1)
	}
	d.overrideFails(o, "can't be set from outside the file", suggest(o.Path, names))
}

func (d *decoder) overrideFails(o Override, what, fix string) {
	d.problems = append(d.problems, Problem{Where: o.Origin, Path: o.Path, What: what, Fix: fix})
}

// child gives the block under key, made if it isn't there.
func (d *decoder) child(block *yaml.Node, key, origin string) *yaml.Node {
	if block.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(block.Content); i += 2 {
		if block.Content[i].Value != key {
			continue
		}
		inner := block.Content[i+1]
		if inner.Kind == yaml.AliasNode {
			return inner.Alias
		}
		if isNull(inner) {
			*inner = yaml.Node{Kind: yaml.MappingNode, Line: inner.Line}
		}
		return inner
	}
	inner := &yaml.Node{Kind: yaml.MappingNode}
	d.origins[inner] = origin
	setKey(block, key, inner)
	return inner
}

// setKey puts value in place of what block has under key.
func setKey(block *yaml.Node, key string, value *yaml.Node) {
	if block.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(block.Content); i += 2 {
		if block.Content[i].Value == key {
			block.Content[i+1] = value
			return
		}
	}
	block.Content = append(block.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

// overrideNode writes the value as YAML. Text is text even where it looks like
// something else, and an empty one is allowed.
func overrideNode(kind, value string) *yaml.Node {
	switch kind {
	case "list":
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list.Content = append(list.Content, overrideNode("text", item))
			}
		}
		return list
	case "text":
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value}
}

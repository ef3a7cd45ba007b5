// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Path is a field that an Override may set.
type Path struct {
	Path    string
	Kind    string // text, number, duration, bool or list
	Default string
	Doc     string
}

// EnvPrefix is what all of onevip's variables begin with.
const EnvPrefix = "ONEVIP_"

// EnvName is the variable that sets a path: ONEVIP_HEARTBEAT_INTERVAL,
// ONEVIP_SERVICES_0_POLICY.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_", "[", "_", "]", "").Replace(path))
}

// CheckPath is an error for a path that no Override may set, with the nearest one.
func CheckPath(path string) error {
	if _, known := settable(path); known {
		return nil
	}
	return Problem{Path: path, What: notSettable, Fix: suggest(path, settableNames())}
}

const notSettable = "can't be set from outside the file"

// settable finds a path, with or without the number of an item.
func settable(path string) (Path, bool) {
	form := itemNumber.ReplaceAllString(path, "[]")
	paths := append(Paths(), ItemPaths()...)
	i := slices.IndexFunc(paths, func(p Path) bool { return p.Path == form })
	if i < 0 || strings.Contains(path, "[]") {
		return Path{}, false
	}
	return paths[i], true
}

// settableNames are all paths, those of items with a number for an example.
func settableNames() (names []string) {
	for _, p := range append(Paths(), ItemPaths()...) {
		names = append(names, strings.Replace(p.Path, "[]", "[0]", 1))
	}
	return names
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

// itemNumber is the number of an item in a path: services[0].policy.
var itemNumber = regexp.MustCompile(`\[\d{1,4}\]`)
